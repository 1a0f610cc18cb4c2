"""Servers that go away and come back, and clients that do: nothing has to be started again."""

from pathlib import Path

import pytest
from httpx2 import Response

from stratakit.testing import eventually, serving

from gateway.settings import PREFIX

from ..proxy import Proxy
from .people import ADMIN_TOKEN, CHAT, Team, chat, connecting

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
