"""Redis loses its data, or has those of an hour ago: whoever asks notices nothing of it."""

import pytest
from httpx2 import AsyncClient

from gateway.adapters.redis.connection import PREFIX, Client

from .people import CHAT, Connect, Team, chat, configured, created


@pytest.mark.parametrize("lost", ["nothing", "all", "what is new"])
async def test_no_model_is_free_no_session_or_key_comes_back_and_no_alias_is_lost(
    redis_client: Client,
    admin: AsyncClient,
    ann: AsyncClient,
    connect: Connect,
    team: Team,
    lost: str,
) -> None:
    named = {"alias": "mine", "target": "echo", "provider": "echo"}
    alias = await created(admin, "aliases", team_id=team.id, **named)
    revoked = await created(admin, "keys", user_id=team.user)
    client, former = connect(team.key), connect(revoked["key"])

    async def statuses() -> list[int]:
        asked = [
            await client.post(CHAT, json=chat(model="mine")),
            await client.post(CHAT, json=chat()),
            await former.post(CHAT, json=chat()),
            await ann.get("/auth/me"),
        ]
        return [response.status_code for response in asked]

    assert await statuses() == [200, 200, 200, 200]
    before = {
        str(key): await redis_client.execute_command("DUMP", key, NEVER_DECODE=True)
        for key in await redis_client.keys(f"{PREFIX}*")
    }
    await admin.patch(f"/admin/aliases/{alias['id']}", json={"target": "other"})
    await admin.post(f"/admin/keys/{revoked['id']}/revoke")
    await ann.post("/auth/logout")
    async with configured(admin, prices={"echo": 1, "other": 0}):
        if lost != "nothing":
            await redis_client.delete(*await redis_client.keys(f"{PREFIX}*"))
        if lost == "what is new":
            for key, value in before.items():
                await redis_client.restore(key, 0, value)
        # The alias that is free now, the model that the budget does not pay for, and nobody else.
        for _ in range(2):
            assert await statuses() == [200, 429, 401, 401]
