"""Strangers and greedy teams, and what others notice of them."""

import asyncio
import json
import socket
import statistics
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import ExitStack, asynccontextmanager, suppress
from threading import Event

import httpx2
import psutil
import pytest

from stratakit.testing import Service, eventually, serving

from gateway.settings import PREFIX

from .people import ADMIN_TOKEN, CHAT, Connect, Team, chat, connecting, created

ANN = {"email": "flooded@example.org", "password": "correct horse battery"}
GROWTH = 150 * 2**20
"""Bytes by which the process may grow."""
NOTICED = 0.05
"""Seconds at the median that another client may wait for an answer of nothing, beside idly."""
SAMPLES = 20
"""Of each median. A busy machine may spoil some of these, a flood would spoil all."""
PATIENCE = 60
"""Seconds in which that has to come true, on a machine that does much else."""
PROMPT = ("word" * 250 + " ") * 144
"""Whose answer is more than the buffers on its way hold."""

Flood = Callable[[int, str, Event], None]


def post(path: str, body: bytes, *headers: str, length: int | None = None) -> bytes:
    """Return a request, which may say that its body is longer."""
    lines = (f"POST {path} HTTP/1.1", "Host: x", f"Content-Length: {length or len(body)}", *headers)
    return "\r\n".join([*lines, "", ""]).encode() + body


def send(port: int, over: Event, stack: ExitStack, requests: Iterable[Iterable[bytes]]) -> None:
    """Send each by a connection of its own, which takes little and waits little."""
    for pieces in requests:
        connection = stack.enter_context(socket.socket())
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        # By these the other side's buffer is measured.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
        connection.settimeout(0.5)
        with suppress(OSError):
            connection.connect(("127.0.0.1", port))
            for piece in pieces:
                if over.is_set():
                    return
                connection.sendall(piece)


def headers(each: bytes, many: int) -> Flood:
    """Return a flood of one connection after the other that sends so many headers."""

    def flood(port: int, _: str, over: Event) -> None:
        while not over.is_set():
            with ExitStack() as stack:
                send(port, over, stack, [[b"GET / HTTP/1.1\r\nHost: x\r\nA: ", *[each] * many]])

    return flood


def half_bodies(port: int, _: str, over: Event) -> None:
    """Send the half of many bodies, to each kind of route, and wait."""
    half, paths = b"x" * 2**21, ("/auth/login", CHAT, "/admin/config", "/nothing")
    requests = (
        [post(paths[n % 4], half, f"Authorization: Bearer sk-{n}", length=2 * len(half))]
        for n in range(250)
    )
    with ExitStack() as stack:
        send(port, over, stack, requests)
        over.wait()


def unread_streams(port: int, key: str, over: Event) -> None:
    """Ask for many streams, and read none."""
    body = json.dumps(chat(PROMPT, max_tokens=144, stream=True)).encode()
    with ExitStack() as stack:
        send(port, over, stack, [[post(CHAT, body, f"Authorization: Bearer {key}")]] * 512)
        over.wait()


def logins(port: int, _: str, over: Event) -> None:
    """Log in as many who do not exist, at once, again and again."""
    own = ("X-Forwarded-For: 203.0.113.9", "Content-Type: application/json")
    bodies = [{"email": f"nobody{n}@example.org", "password": "x"} for n in range(64)]
    requests = [[post("/auth/login", json.dumps(body).encode(), *own)] for body in bodies]
    while not over.is_set():
        with ExitStack() as stack:
            send(port, over, stack, requests)
            over.wait(1)


@pytest.fixture(scope="module")
def patient(
    settings: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """A gateway that waits two seconds for its clients."""
    folder = tmp_path_factory.mktemp("flooded")
    own = settings | {"CLIENT_TIMEOUT": "2"}
    with serving("gateway", own, prefix=PREFIX, folder=folder) as service:
        yield service


@pytest.fixture
async def connect(patient: Service) -> AsyncIterator[Connect]:
    """Make clients of that one."""
    async with connecting(patient) as connect:
        yield connect


@asynccontextmanager
async def flooded(flood: Flood, port: int, key: str) -> AsyncIterator[None]:
    """Let a flood run in a thread for the length of a block."""
    over = Event()
    running = asyncio.create_task(asyncio.to_thread(flood, port, key, over))
    try:
        yield
    finally:
        over.set()
        await running


async def waited(client: httpx2.AsyncClient) -> float:
    """Return how long another client waits at the median for an answer of nothing."""
    times = []
    for _ in range(SAMPLES):
        start = time.perf_counter()
        assert (await client.get("/health/live")).status_code == 200
        times.append(time.perf_counter() - start)
    return statistics.median(times)


@pytest.mark.parametrize(
    ("flood", "dropped"),
    [
        pytest.param(headers(b"a" * 2**16, 2**10), "headers", id="an endless header"),
        pytest.param(headers(b"a: b\r\n" * 100, 200), "headers", id="20,000 headers"),
        pytest.param(half_bodies, "too slow", id="250 half bodies"),
        pytest.param(unread_streams, "reads nothing", id="512 unread streams"),
        pytest.param(logins, None, id="64 logins of strangers"),
    ],
)
async def test_nobody_notices(
    patient: Service, connect: Connect, flood: Flood, dropped: str | None
) -> None:
    admin, anybody = connect(ADMIN_TOKEN), connect(None)
    client, greedy = connect((await Team.make(admin)).key), await Team.make(admin)
    await created(
        admin, "quotas", team_id=greedy.id, requests_per_minute=10**6, tokens_per_minute=10**9
    )
    registered = await anybody.post("/auth/register", json={"team": "Ann's", **ANN})
    assert registered.status_code in {201, 409}
    # By then all is there that a process needs once.
    assert (await anybody.post("/auth/login", json=ANN)).status_code == 200
    assert (await client.post(CHAT, json=chat())).status_code == 200
    process = psutil.Process(patient.process.pid)
    before = process.memory_info().rss

    async def value(name: str) -> float:
        lines = (await anybody.get("/metrics")).text.splitlines()
        return float(next(line for line in lines if line.startswith(name)).rpartition(" ")[2])

    counter = f'gateway_dropped_connections{{reason="{dropped}"}}'
    already = await value(counter) if dropped else 0.0
    idle = await waited(anybody)

    async def is_quick() -> bool:
        return await waited(anybody) < NOTICED + idle

    async def is_dropped() -> bool:
        return dropped is None or await value(counter) > already

    async def is_free() -> bool:
        return await value("gateway_slots_in_use") == 0

    async with flooded(flood, patient.port, greedy.key):
        await eventually(is_quick, timeout=PATIENCE)
        assert (await anybody.post("/auth/login", json=ANN)).status_code == 200
        assert (await client.post(CHAT, json=chat())).status_code == 200
        assert process.memory_info().rss - before < GROWTH
        await eventually(is_dropped, timeout=PATIENCE)
        await eventually(is_free, timeout=PATIENCE)
        assert process.memory_info().rss - before < GROWTH
