"""Floods of requests by strangers and by a greedy team, and their effect on other clients."""

import asyncio
import json
import socket
import statistics
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from threading import Event

import psutil
import pytest
from httpx2 import AsyncClient

from stratakit.testing import Service, eventually, services

from .people import ANN, CHAT, Team, chat, created

GROWTH = 150 * 2**20
"""Bytes by which the process may grow during a flood."""
NOTICED = 0.05
"""Seconds by which the median latency of a trivial request may exceed that without a flood."""
SAMPLES = 20
"""Requests for each median. A busy machine may slow down some, a flood would slow down all."""
PATIENCE = 60
"""Seconds to wait for a condition during a flood: many, since the machine may be busy."""
PROMPT = ("word" * 250 + " ") * 144
"""Prompt whose completion exceeds the buffers of the connection."""


def post(path: str, body: bytes, *headers: str, length: int | None = None) -> list[bytes]:
    """Return a request's head and body; `length` can announce a longer body."""
    lines = (f"POST {path} HTTP/1.1", "Host: x", f"Content-Length: {length or len(body)}", *headers)
    return ["\r\n".join([*lines, "", ""]).encode(), body]


def send(connection: socket.socket, port: int, pieces: list[bytes], over: Event) -> None:
    """Send a request on a connection with a small receive buffer and a short timeout."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    # The other side sizes its send buffer by the segment size.
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
    connection.settimeout(0.5)
    with suppress(OSError):
        connection.connect(("127.0.0.1", port))
        for piece in pieces:
            if not over.is_set():
                connection.sendall(piece)


@dataclass(frozen=True)
class Flood:
    """Requests, each in pieces and on a connection of its own."""

    requests: list[list[bytes]]
    refused: str
    """Metric that counts what the gateway refuses."""
    pause: float | None = None
    """Seconds after which it reconnects; None if the connections stay open."""

    def run(self, port: int, over: Event) -> None:
        """Repeat the flood until `over` is set."""
        while not over.is_set():
            with ExitStack() as stack:
                for pieces in self.requests:
                    send(stack.enter_context(socket.socket()), port, pieces, over)
                over.wait(self.pause)


def floods(key: str) -> dict[str, Flood]:
    """Return all floods by name; the key is for the one that a team makes."""
    begun, half = b"GET / HTTP/1.1\r\nHost: x\r\nA: ", b"x" * 2**21
    paths = ("/auth/login", CHAT, "/admin/config", "/nothing")
    halves = [
        post(paths[n % 4], half, f"Authorization: Bearer sk-{n}", length=2 * len(half))
        for n in range(250)
    ]
    body = json.dumps(chat(PROMPT, max_tokens=144, stream=True)).encode()
    streams = [post(CHAT, body, f"Authorization: Bearer {key}")] * 512
    own = ("X-Forwarded-For: 203.0.113.9", "Content-Type: application/json")
    strangers = [{"email": f"nobody{n}@example.org", "password": "x"} for n in range(64)]
    logins = [post("/auth/login", json.dumps(each).encode(), *own) for each in strangers]
    dropped = 'gateway_dropped_connections{{reason="{}"}}'.format
    limited = 'gateway_failures_total{code="rate_limit_exceeded"}'
    return {
        "an endless header": Flood([[begun, *[b"a" * 2**16] * 2**10]], dropped("headers"), 0),
        "20,000 headers": Flood([[begun, *[b"a: b\r\n" * 100] * 200]], dropped("headers"), 0),
        "250 half bodies": Flood(halves, dropped("too slow")),
        "512 unread streams": Flood(streams, dropped("reads nothing")),
        "64 logins of strangers": Flood(logins, limited, pause=1),
    }


@pytest.fixture(scope="session")
def settings(settings: dict[str, str]) -> dict[str, str]:
    """The settings of a gateway that waits two seconds for its clients."""
    return settings | {"CLIENT_TIMEOUT": "2"}


service = services.fixture("gateway")


async def latency(client: AsyncClient) -> float:
    """Return the median latency of a trivial request."""
    answers = [await client.get("/health/live") for _ in range(SAMPLES)]
    assert {answer.status_code for answer in answers} == {200}
    return statistics.median(answer.elapsed.total_seconds() for answer in answers)


@pytest.mark.usefixtures("ann")
@pytest.mark.parametrize("name", floods(""))
async def test_other_clients_are_served_during_a_flood(
    service: Service, admin: AsyncClient, anybody: AsyncClient, client: AsyncClient, name: str
) -> None:
    greedy = await Team.make(admin)
    quota = {"requests_per_minute": 10**6, "tokens_per_minute": 10**9}
    await created(admin, "quotas", team_id=greedy.id, **quota)
    flood, over = floods(greedy.key)[name], Event()
    process = psutil.Process(service.process.pid)

    async def value(name: str) -> float:
        lines = (await anybody.get("/metrics")).text.splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))

    async def serves() -> None:
        assert (await anybody.post("/auth/login", json=ANN)).status_code == 200
        assert (await client.post(CHAT, json=chat())).status_code == 200

    async def is_quick() -> bool:
        return await latency(anybody) < NOTICED + idle

    async def is_refused() -> bool:
        return await value(flood.refused) > already and await value("gateway_slots_in_use") == 0

    # Warm up: load what a process needs only once.
    await serves()
    before, idle = process.memory_info().rss, await latency(anybody)
    already = await value(flood.refused)
    running = asyncio.create_task(asyncio.to_thread(flood.run, service.port, over))
    try:
        await eventually(is_quick, timeout=PATIENCE)
        await serves()
        assert process.memory_info().rss - before < GROWTH
        await eventually(is_refused, timeout=PATIENCE)
        assert process.memory_info().rss - before < GROWTH
    finally:
        over.set()
        await running
