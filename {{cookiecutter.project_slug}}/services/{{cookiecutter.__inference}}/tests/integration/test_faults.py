"""Servers that go away and come back, without their data even, and clients that do.

Nothing has to be started again, and whoever asks is told nothing that is no longer so.
"""

from pathlib import Path

import pytest
from httpx2 import AsyncClient, Response

from stratakit.testing import eventually, serving

from gateway.adapters.redis import connection
from gateway.settings import PREFIX

from ..proxy import Proxy
from .people import ADMIN_TOKEN, CHAT, Connect, Team, chat, configured, connecting, created

TIMEOUT = "1.0"
"""Seconds that the gateway waits for a server.

A machine that is busy may let them pass at any request, so that each has to be made again.
"""


@pytest.mark.parametrize("way", ["cut", "partition"])
async def test_without_a_server_it_answers_503_and_recovers_by_itself(
    settings: dict[str, str], tmp_path: Path, way: str
) -> None:
    async def ask() -> Response:
        if server == "redis":
            # A key that is at hand needs nothing else.
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


async def test_who_leaves_a_stream_frees_its_slot(settings: dict[str, str], tmp_path: Path) -> None:
    own = {"MAX_CONCURRENCY": "1", "ECHO_PER_TOKEN": "0.02"}
    with serving("gateway", settings | own, prefix=PREFIX, folder=tmp_path) as service:
        async with connecting(service) as connect:
            client = connect((await Team.make(connect(ADMIN_TOKEN))).key)

            async def is_free() -> bool:
                return (await client.post(CHAT, json=chat())).status_code == 200

            # Twenty seconds it would take to the end.
            body = chat("word " * 1_000, max_tokens=1_000, stream=True)
            async with client.stream("POST", CHAT, json=body) as stream:
                lines = stream.aiter_lines()
                assert (await anext(lines)).startswith("data: {")
                refused = await client.post(CHAT, json=chat())
                assert refused.json()["error"]["code"] == "overloaded"
            await eventually(is_free, timeout=8)


@pytest.mark.parametrize("lost", ["nothing", "all", "what is new"])
async def test_if_redis_loses_data_no_model_is_free_no_session_or_key_comes_back_no_alias_is_lost(
    redis_client: connection.Client,
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
        for key in await redis_client.keys(f"{connection.PREFIX}*")
    }
    await admin.patch(f"/admin/aliases/{alias['id']}", json={"target": "other"})
    await admin.post(f"/admin/keys/{revoked['id']}/revoke")
    await ann.post("/auth/logout")
    async with configured(admin, prices={"echo": 1, "other": 0}):
        if lost != "nothing":
            await redis_client.delete(*await redis_client.keys(f"{connection.PREFIX}*"))
        if lost == "what is new":
            for key, value in before.items():
                await redis_client.restore(key, 0, value)
        # The alias that is free now, the model that the budget does not pay for, and nobody else.
        for _ in range(2):
            assert await statuses() == [200, 429, 401, 401]
