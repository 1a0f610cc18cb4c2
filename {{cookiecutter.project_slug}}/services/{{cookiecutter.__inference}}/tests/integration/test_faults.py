"""Faults: servers that fail and return, even without their data, and clients that disconnect.

The gateway recovers without a restart, and no response relies on stale data.
"""

from pathlib import Path

import pytest
from httpx2 import AsyncClient, Response

from stratakit.testing import eventually, serving

from gateway.adapters.redis import Client
from gateway.settings import PREFIX

from ..proxy import Proxy
from .people import ADMIN_TOKEN, CHAT, Connect, Team, chat, configured, connecting, created

TIMEOUT = "1.0"
"""Seconds that the gateway waits for a server.

On a busy machine any request may exceed this, so each is retried.
"""


@pytest.mark.parametrize("way", ["cut", "partition"])
async def test_without_a_server_the_gateway_returns_503_and_recovers_by_itself(
    settings: dict[str, str], tmp_path: Path, way: str
) -> None:
    async def ask() -> Response:
        if server == "redis":
            # The key is cached, so the request needs no other server.
            return await client.post(CHAT, json=chat())
        return await admin.get("/admin/teams")

    async def told() -> bool:
        answer = await ask()
        assert (answer.status_code, bool(answer.headers["retry-after"])) == (503, True)
        return bool(answer.json()["error"]["message"] == f"{server} is not available")

    async def recovered() -> bool:
        return (await ask()).status_code == 200

    async with Proxy(settings["DATABASE_URL"]) as postgres, Proxy(settings["REDIS_URL"]) as redis:
        own = {"DATABASE_URL": postgres.url, "REDIS_URL": redis.url, "SERVER_TIMEOUT": TIMEOUT}
        with serving("gateway", settings | own, prefix=PREFIX, folder=tmp_path) as service:
            async with connecting(service) as connect:
                admin = connect(ADMIN_TOKEN)
                team = await eventually(lambda: Team.make(admin), timeout=30)
                client, server = connect(team.key), "redis"
                await eventually(recovered)
                for server, proxy in {"postgres": postgres, "redis": redis}.items():
                    await getattr(proxy, way)()
                    await eventually(told)
                    ready = await client.get("/health/ready")
                    assert (ready.status_code, server in ready.text) == (503, True)
                    assert (await client.get("/health/live")).status_code == 200
                    await proxy.heal()
                    await eventually(recovered)
                    await service.ready()


async def test_leaving_a_stream_frees_its_slot(settings: dict[str, str], tmp_path: Path) -> None:
    own = {"MAX_CONCURRENCY": "1", "ECHO_PER_TOKEN": "0.02"}
    with serving("gateway", settings | own, prefix=PREFIX, folder=tmp_path) as service:
        async with connecting(service) as connect:
            client = connect((await Team.make(connect(ADMIN_TOKEN))).key)

            async def is_free() -> bool:
                return (await client.post(CHAT, json=chat())).status_code == 200

            # The whole stream would take twenty seconds.
            body = chat("word " * 1_000, max_tokens=1_000, stream=True)
            async with client.stream("POST", CHAT, json=body) as stream:
                lines = stream.aiter_lines()
                assert (await anext(lines)).startswith("data: {")
                refused = await client.post(CHAT, json=chat())
                assert refused.json()["error"]["code"] == "overloaded"
            await eventually(is_free, timeout=8)


@pytest.mark.parametrize("lost", ["nothing", "all", "recent writes"])
async def test_prices_aliases_revocations_and_logouts_survive_a_loss_of_redis_data(
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
        for key in await redis_client.keys("gateway:*")
    }
    await admin.patch(f"/admin/aliases/{alias['id']}", json={"target": "other"})
    await admin.post(f"/admin/keys/{revoked['id']}/revoke")
    await ann.post("/auth/logout")
    async with configured(admin, prices={"echo": 1, "other": 0}):
        if lost != "nothing":
            await redis_client.delete(*await redis_client.keys("gateway:*"))
        if lost == "recent writes":
            for key, value in before.items():
                await redis_client.restore(key, 0, value)
        # The alias's new target is free, the echo now exceeds the budget, the others are refused.
        for _ in range(2):
            assert await statuses() == [200, 429, 401, 401]
