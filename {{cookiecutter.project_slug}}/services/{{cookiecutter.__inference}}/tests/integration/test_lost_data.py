"""Redis loses its data, or has those of an hour ago: whoever asks notices nothing of it."""

from collections.abc import Awaitable, Callable

import httpx2
import pytest

from gateway.adapters.redis.connection import PREFIX, Client

from .people import CHAT, Connect, Team, chat, configured, created

ANN = {"email": "ann@example.org", "password": "correct horse battery"}
State = dict[str, bytes]


async def dump(client: Client) -> State:
    """Return all that the gateway has stored."""
    keys = [str(key) for key in await client.keys(f"{PREFIX}*")]
    return {key: await client.execute_command("DUMP", key, NEVER_DECODE=True) for key in keys}


async def wiped(client: Client, before: State) -> None:
    del before
    if keys := await client.keys(f"{PREFIX}*"):
        await client.delete(*keys)


async def restored(client: Client, before: State) -> None:
    await wiped(client, before)
    for key, value in before.items():
        await client.restore(key, 0, value)


async def kept(client: Client, before: State) -> None:
    del client, before


@pytest.mark.parametrize("lose", [kept, wiped, restored])
async def test_no_model_is_free_no_session_or_key_comes_back_and_no_alias_is_lost(
    admin: httpx2.AsyncClient,
    anybody: httpx2.AsyncClient,
    connect: Connect,
    redis_client: Client,
    team: Team,
    client: httpx2.AsyncClient,
    lose: Callable[[Client, State], Awaitable[None]],
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
        await lose(redis_client, before)
        # The alias that is free now, the model that the budget does not pay for, and nobody else.
        for _ in range(2):
            assert await statuses() == [200, 429, 401, 401]
