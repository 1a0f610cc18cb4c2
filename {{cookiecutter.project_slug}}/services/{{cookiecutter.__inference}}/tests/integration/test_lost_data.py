"""Redis loses its data, or has those of an hour ago: whoever asks notices nothing of it."""

import pytest
from httpx2 import AsyncClient

from gateway.adapters.redis.connection import PREFIX, Client

from .people import CHAT, Connect, Team, chat, configured, created

ANN = {"email": "ann@example.org", "password": "correct horse battery"}
State = dict[str, bytes]


async def dump(client: Client) -> State:
    """Return all that the gateway has stored."""
    keys = [str(key) for key in await client.keys(f"{PREFIX}*")]
    return {key: await client.execute_command("DUMP", key, NEVER_DECODE=True) for key in keys}


async def lose(client: Client, kept: State) -> None:
    """Have all lost that the gateway has stored but this."""
    if keys := await client.keys(f"{PREFIX}*"):
        await client.delete(*keys)
    for key, value in kept.items():
        await client.restore(key, 0, value)


@pytest.mark.parametrize("lost", ["nothing", "all", "what is new"])
async def test_no_model_is_free_no_session_or_key_comes_back_and_no_alias_is_lost(
    admin: AsyncClient,
    anybody: AsyncClient,
    connect: Connect,
    redis_client: Client,
    team: Team,
    client: AsyncClient,
    lost: str,
) -> None:
    assert (await anybody.post("/auth/register", json={"team": "Ann", **ANN})).status_code == 201
    ann = connect((await anybody.post("/auth/login", json=ANN)).json()["token"])
    alias = await created(
        admin, "aliases", team_id=team.id, alias="mine", target="echo", provider="echo"
    )
    revoked = await created(admin, "keys", user_id=team.user)

    async def statuses() -> list[int]:
        asked = [
            await client.post(CHAT, json=chat(model="mine")),
            await client.post(CHAT, json=chat()),
            await connect(revoked["key"]).post(CHAT, json=chat()),
            await ann.get("/auth/me"),
        ]
        return [response.status_code for response in asked]

    assert await statuses() == [200, 200, 200, 200]
    before = await dump(redis_client)
    await admin.patch(f"/admin/aliases/{alias['id']}", json={"target": "other"})
    await admin.post(f"/admin/keys/{revoked['id']}/revoke")
    await ann.post("/auth/logout")
    async with configured(admin, prices={"echo": 1, "other": 0}):
        if lost != "nothing":
            await lose(redis_client, before if lost == "what is new" else {})
        # The alias that is free now, the model that the budget does not pay for, and nobody else.
        for _ in range(2):
            assert await statuses() == [200, 429, 401, 401]
