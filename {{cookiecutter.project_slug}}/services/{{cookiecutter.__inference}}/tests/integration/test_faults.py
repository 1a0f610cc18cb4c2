"""Servers that go away and come back, and clients that do: nothing has to be started again."""

import asyncio
import json
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass
from threading import Thread
from typing import Any

import httpx2
import pytest

from ops.testing import Service, eventually, serving

from gateway.settings import PREFIX

from ..proxy import Proxy
from .people import ADMIN_TOKEN, CHAT, Team, chat

TIMEOUT = 1.0
"""Seconds that the gateway waits for a server."""


@dataclass(frozen=True, slots=True)
class Fragile:
    """A gateway between whose servers and itself there is something that can be cut."""

    service: Service
    proxies: dict[str, Proxy]
    loop: asyncio.AbstractEventLoop

    async def do(self, verb: str, server: str) -> None:
        """Have a proxy `cut`, `partition` or `heal`."""
        coroutine = getattr(self.proxies[server], verb)()
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(coroutine, self.loop))

    def client(self, credential: str) -> httpx2.AsyncClient:
        """Return a client; the caller closes it."""
        headers = {"Authorization": f"Bearer {credential}"}
        return httpx2.AsyncClient(base_url=self.service.url, headers=headers, timeout=30)


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """An event loop beside that of the tests, none of which may leave tasks, as a proxy does."""
    loop = asyncio.new_event_loop()
    thread = Thread(target=loop.run_forever)
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture(scope="module")
def fragile(
    settings: dict[str, str],
    loop: asyncio.AbstractEventLoop,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Fragile]:
    """A gateway whose backend takes its time, one request at once."""
    proxies = {
        "postgres": Proxy(settings["DATABASE_URL"]),
        "redis": Proxy(settings["REDIS_URL"]),
    }

    def run(coroutine: Coroutine[Any, Any, object]) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, loop).result()

    with ExitStack() as stack:
        for proxy in proxies.values():
            run(proxy.__aenter__())
            stack.callback(lambda each: run(each.__aexit__()), proxy)
        own = {
            "DATABASE_URL": proxies["postgres"].url,
            "REDIS_URL": proxies["redis"].url,
            "SERVER_TIMEOUT": str(TIMEOUT),
            "ECHO_PER_TOKEN": "0.02",
            "MAX_CONCURRENCY": "1",
        }
        folder = tmp_path_factory.mktemp("fragile")
        service = stack.enter_context(
            serving("gateway", settings | own, prefix=PREFIX, folder=folder)
        )
        yield Fragile(service, proxies, loop)


@pytest.fixture
async def clients(fragile: Fragile) -> AsyncIterator[tuple[httpx2.AsyncClient, httpx2.AsyncClient]]:
    """An administrator, and a team that has asked before, so that its key is at hand."""
    await fragile.service.ready()
    async with AsyncExitStack() as stack:
        for server in fragile.proxies:
            stack.push_async_callback(fragile.do, "heal", server)
        admin = await stack.enter_async_context(fragile.client(ADMIN_TOKEN))
        team = await Team.make(admin)
        client = await stack.enter_async_context(fragile.client(team.key))
        assert (await client.post(CHAT, json=chat())).status_code == 200
        yield admin, client


@pytest.mark.parametrize("way", ["cut", "partition"])
@pytest.mark.parametrize(
    ("server", "path"), [("postgres", "/admin/teams"), ("redis", CHAT)], ids=["postgres", "redis"]
)
async def test_without_a_server_it_answers_503_and_recovers_by_itself(
    fragile: Fragile,
    clients: tuple[httpx2.AsyncClient, httpx2.AsyncClient],
    server: str,
    path: str,
    way: str,
) -> None:
    admin, client = clients

    async def ask() -> httpx2.Response:
        if path == CHAT:
            return await client.post(path, json=chat())
        return await admin.get(path)

    await fragile.do(way, server)
    answer = await ask()
    assert answer.status_code == 503
    assert answer.json()["error"]["message"] == f"{server} is not available"
    assert answer.headers["retry-after"]
    ready = await client.get("/health/ready")
    assert ready.status_code == 503
    assert server in ready.text
    assert (await client.get("/health/live")).status_code == 200

    await fragile.do("heal", server)

    async def recovered() -> bool:
        return (await ask()).status_code == 200

    await eventually(recovered)
    await fragile.service.ready()


async def test_a_key_that_is_at_hand_does_without_postgres(
    fragile: Fragile, clients: tuple[httpx2.AsyncClient, httpx2.AsyncClient]
) -> None:
    _, client = clients
    await fragile.do("cut", "postgres")
    assert (await client.post(CHAT, json=chat())).status_code == 200


async def test_a_config_is_taken_over_that_was_published_while_redis_was_away(
    fragile: Fragile,
    clients: tuple[httpx2.AsyncClient, httpx2.AsyncClient],
    service: Service,
) -> None:
    _, client = clients
    await service.ready()
    await fragile.do("cut", "redis")
    async with httpx2.AsyncClient(
        base_url=service.url, headers={"Authorization": f"Bearer {ADMIN_TOKEN}"}
    ) as elsewhere:
        config = (await elsewhere.get("/admin/config")).json()
        config.pop("version")
        models = {**config["models"], "news": {"provider": "echo", "model": "echo"}}
        changed = await elsewhere.put("/admin/config", json={**config, "models": models})
        assert changed.status_code == 200
        await fragile.do("heal", "redis")

        async def known() -> bool:
            return (await client.get("/v1/models/news")).status_code == 200

        await eventually(known)
        assert (await elsewhere.put("/admin/config", json=config)).status_code == 200


async def test_a_client_that_leaves_in_the_middle_of_a_stream_frees_its_slot(
    clients: tuple[httpx2.AsyncClient, httpx2.AsyncClient],
) -> None:
    _, client = clients
    body = chat("word " * 500, max_tokens=500, stream=True)
    async with client.stream("POST", CHAT, json=body) as stream:
        lines = stream.aiter_lines()
        assert json.loads((await anext(lines)).removeprefix("data: "))["choices"]
        # There is but one.
        assert (await client.post(CHAT, json=chat())).status_code == 503

    async def free() -> bool:
        return (await client.post(CHAT, json=chat())).status_code == 200

    # Ten seconds it would have taken to the end.
    await eventually(free, timeout=8)


async def test_a_stream_goes_on_while_redis_is_away(
    fragile: Fragile, clients: tuple[httpx2.AsyncClient, httpx2.AsyncClient]
) -> None:
    _, client = clients
    async with client.stream("POST", CHAT, json=chat("a b c d e f g h", stream=True)) as stream:
        await fragile.do("cut", "redis")
        lines = [line async for line in stream.aiter_lines() if line]
    assert lines[-1] == "data: [DONE]"
