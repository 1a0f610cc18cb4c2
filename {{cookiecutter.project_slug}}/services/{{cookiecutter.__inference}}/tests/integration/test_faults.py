"""Servers that go away and come back, and clients that do: nothing has to be started again."""

import asyncio
import json
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import AsyncExitStack, ExitStack, aclosing
from dataclasses import dataclass
from threading import Thread
from typing import Any

import httpx2
import pytest

from stratakit.testing import Service, eventually, serving

from gateway.settings import PREFIX

from ..proxy import Proxy
from .people import ADMIN_TOKEN, CHAT, Team, chat, configured, connecting

TIMEOUT = 1.0
"""Seconds that the gateway waits for a server.

A machine that is busy may let them pass at any request, so that each has to be made again.
"""
Clients = tuple[httpx2.AsyncClient, httpx2.AsyncClient]


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
async def clients(fragile: Fragile) -> AsyncIterator[Clients]:
    """An administrator, and a team that has asked before, so that its key is at hand."""
    async with AsyncExitStack() as stack:
        for server in fragile.proxies:
            stack.push_async_callback(fragile.do, "heal", server)
        connect = await stack.enter_async_context(connecting(fragile.service))
        admin = connect(ADMIN_TOKEN)

        async def team() -> httpx2.AsyncClient | None:
            client = connect((await Team.make(admin)).key)
            return client if await status(client) == 200 else None

        client = await eventually(team, timeout=30)
        assert client
        yield admin, client


async def status(client: httpx2.AsyncClient) -> int:
    """Ask, and return the status of the answer."""
    return (await client.post(CHAT, json=chat())).status_code


async def streaming(client: httpx2.AsyncClient, words: int) -> httpx2.Response | None:
    """Ask for a stream that takes 0.02 s a word; the caller closes it. None if there was none."""
    body = chat("word " * words, max_tokens=words, stream=True)
    request = client.build_request("POST", CHAT, json=body)
    stream = await client.send(request, stream=True)
    if stream.status_code == 200:
        return stream
    await stream.aclose()
    return None


@pytest.mark.parametrize("way", ["cut", "partition"])
@pytest.mark.parametrize(
    ("server", "path"), [("postgres", "/admin/teams"), ("redis", CHAT)], ids=["postgres", "redis"]
)
async def test_without_a_server_it_answers_503_and_recovers_by_itself(
    fragile: Fragile,
    clients: Clients,
    server: str,
    path: str,
    way: str,
) -> None:
    admin, client = clients

    async def ask() -> httpx2.Response:
        if path == CHAT:
            return await client.post(path, json=chat())
        return await admin.get(path)

    answers: list[httpx2.Response] = []

    async def told() -> bool:
        answers.append(await ask())
        message: str = answers[-1].json()["error"]["message"]
        return message == f"{server} is not available"

    await fragile.do(way, server)
    await eventually(told)
    assert {answer.status_code for answer in answers} == {503}
    assert answers[-1].headers["retry-after"]
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
    fragile: Fragile, clients: Clients
) -> None:
    _, client = clients

    async def answered() -> bool:
        # Asked before each time, since all is forgotten once a minute.
        await fragile.do("heal", "postgres")
        before = await status(client)
        await fragile.do("cut", "postgres")
        return [before, await status(client)] == [200, 200]

    await eventually(answered)


async def test_a_config_is_taken_over_that_was_published_while_redis_was_away(
    fragile: Fragile, clients: Clients, admin: httpx2.AsyncClient
) -> None:
    _, client = clients

    async def known() -> bool:
        return (await client.get("/v1/models/news")).status_code == 200

    await fragile.do("cut", "redis")
    # By another gateway.
    async with configured(admin, models={"news": {"provider": "echo", "model": "echo"}}):
        await fragile.do("heal", "redis")
        await eventually(known)


async def test_a_client_that_leaves_in_the_middle_of_a_stream_frees_its_slot(
    clients: Clients,
) -> None:
    _, client = clients
    statuses: list[int] = []

    async def overloaded() -> bool:
        answer = await client.post(CHAT, json=chat())
        statuses.append(answer.status_code)
        code: str = answer.json()["error"]["code"]
        return code == "overloaded"

    async def free() -> bool:
        return await status(client) == 200

    stream = await eventually(lambda: streaming(client, 1_000))
    assert stream
    async with aclosing(stream):
        lines = stream.aiter_lines()
        assert json.loads((await anext(lines)).removeprefix("data: "))["choices"]
        # There is but one slot.
        await eventually(overloaded)
        assert set(statuses) == {503}
    # Twenty seconds it would have taken to the end.
    await eventually(free, timeout=8)


async def test_a_stream_goes_on_while_redis_is_away(fragile: Fragile, clients: Clients) -> None:
    _, client = clients
    stream = await eventually(lambda: streaming(client, 100))
    assert stream
    async with aclosing(stream):
        await fragile.do("cut", "redis")
        lines = [line async for line in stream.aiter_lines() if line]
    assert lines[-1] == "data: [DONE]"
