"""Limits of a connection, with each of uvicorn's parsers."""

import asyncio
import re
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
import uvicorn
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send
from structlog.typing import EventDict
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from servicebase.transport import DESCRIPTORS, DRAINED, DROPPED, HEAD_BYTES, HEAD_LINES, options
from stratakit.testing import eventually

GET = b"GET /%d HTTP/1.1\r\nHost: x\r\n"
POST = b"POST / HTTP/1.1\r\nHost: x\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"


class Connection(asyncio.Transport):
    """Connection without a socket, to an application that echoes its requests."""

    def __init__(self, parser: type[asyncio.Protocol], **limits: Any) -> None:
        super().__init__()
        self.sent = b""
        self.closed = self.paused = False
        self.answering = asyncio.Event()
        self.answering.set()
        guarded = options(parser, **{"seconds": 60, "most": 9} | limits)
        config = uvicorn.Config(self.app, interface="asgi3", log_config=None, **guarded)
        config.load()
        self.state = ServerState()
        protocol: Any = config.http_protocol_class
        self.protocol = protocol(config=config, server_state=self.state, app_state={})
        self.protocol.connection_made(self)

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Echo the path and the body once `answering` is set, unless the client is gone by then."""
        path = scope["path"]
        with suppress(ClientDisconnect):
            body = b"" if path == "/early" else await Request(scope, receive).body()
            await self.answering.wait()
            await PlainTextResponse(f"<{path} {body.decode()}>")(scope, receive, send)

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.sent += data

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)

    abort = close

    def gives(self, *pieces: bytes) -> "Connection":
        """Send pieces until the service closes the connection."""
        for piece in pieces:
            if not self.closed:
                self.protocol.data_received(piece)
        return self

    async def answers(self, *texts: str) -> None:
        """Wait for these responses, in this order."""
        await eventually(lambda: re.findall("(?s)<(.*?)>", self.sent.decode()) == [*texts])

    async def is_dropped(self, reason: str, status: int | None = None) -> None:
        """Wait until the connection is dropped, for this reason and with this status."""
        await eventually(lambda: self.closed and not self.state.connections | self.state.tasks)
        assert DROPPED[reason] == 1
        assert self.sent[9:12].decode() == str(status or "")


Connect = Callable[..., Connection]


@pytest.fixture(params=[HttpToolsProtocol, H11Protocol])
def connect(request: pytest.FixtureRequest, lines: list[EventDict]) -> Connect:
    """A factory of connections to each uvicorn parser, with the count of dropped ones reset."""
    DROPPED.clear()
    return partial(Connection, request.param)


@pytest.mark.parametrize(
    ("sent", "answers"),
    [
        ([GET % 1 + b"\r\n"], ["/1 "]),
        ([GET % 1 + b"\r\n" + GET % 2 + b"\r\n", GET % 3, b"\r\n"], ["/1 ", "/2 ", "/3 "]),
        ([POST + b"Content-Length: 5\r\n\r\nhello" + GET % 2 + b"\r\n"], ["/ hello", "/2 "]),
        ([bytes([each]) for each in POST + b"Content-Length: 2\r\n\r\nhi"], ["/ hi"]),
        ([CHUNKED + b"2\r\nhe\r\n", b"3\r\nllo\r\n0\r\n\r\n"], ["/ hello"]),
        ([CHUNKED + b"2\r\nhi\r\n0\r\nA: b\r\n\r\n"], ["/ hi"]),
        # The JDK's client asks for HTTP/2 like this; the body is not the next request.
        (
            [
                POST + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
                b"HTTP2-Settings: AAEAAEAAAAIAAAAB\r\nContent-Length: 26\r\n\r\n"
                b"GET /evil HTTP/1.1\r\na: b\r\n" + GET % 2 + b"\r\n"
            ],
            ["/ GET /evil HTTP/1.1\r\na: b\r\n", "/2 "],
        ),
    ],
)
async def test_requests_are_answered_in_order(
    connect: Connect, sent: list[bytes], answers: list[str]
) -> None:
    await connect().gives(*sent).answers(*answers)


async def test_a_pipelined_request_waits_for_the_previous_response(connect: Connect) -> None:
    connection = connect()
    connection.answering.clear()
    connection.gives(*[GET % 1 + b"\r\n"] * 2)
    assert connection.paused
    assert len(connection.state.tasks) == 1
    connection.answering.set()
    await connection.answers("/1 ", "/1 ")


LINE = b"A: " + b"b" * 2**13 + b"\r\n"
BYTES, LINES = HEAD_BYTES // len(LINE) + 1, HEAD_LINES


@pytest.mark.parametrize(
    ("sent", "reason", "status"),
    [
        ([GET % 1, *[LINE] * BYTES], "headers", 431),
        ([GET % 1 + LINE * BYTES + b"\r\n"], "headers", 431),
        ([GET % 1, b"A: " + b"b" * HEAD_BYTES], "headers", 431),
        ([GET % 1 + b"a: b\r\n" * LINES + b"\r\n"], "headers", 431),
        # Trailers are limited too.
        ([CHUNKED + b"2\r\nhi\r\n0\r\n", *[LINE] * BYTES], "headers", None),
        ([POST.replace(b"/", b"/early", 1) + b"Content-Length: 9999999\r\n\r\n"], "", 200),
        ([b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n"], "malformed", 400),
        ([POST + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\na"], "malformed", 400),
        ([POST + b"Content-Length: 1, 1\r\n\r\na"], "malformed", 400),
        ([POST + b"Content-Length: " + b"1" * 19 + b"\r\n\r\na"], "malformed", 400),
        ([CHUNKED.replace(b"\r\n\r\n", b"\r\nContent-Length: 1\r\n\r\n")], "malformed", 400),
    ],
)
async def test_a_large_or_ambiguous_request_is_refused(
    connect: Connect, sent: list[bytes], reason: str, status: int | None
) -> None:
    connection = connect().gives(*sent)
    if not reason:
        # Part of the body is discarded after an early response, so that the client can read it.
        await connection.answers("/early ")
        connection.gives(*[b"x" * 2**18] * (DRAINED // 2**18 + 1))
        reason = "headers"
    await connection.is_dropped(reason, status)


async def test_data_after_the_last_chunk_is_not_a_request(connect: Connect) -> None:
    connection = connect().gives(CHUNKED + b"2\r\nhi\r\n0\r\n\r\n" + GET % 2 + b"\r\n")
    await eventually(lambda: connection.closed and not connection.state.tasks)
    assert b"/2" not in connection.sent


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        ([], "too slow"),
        ([GET % 1], "too slow"),
        ([POST + b"Content-Length: 9\r\n\r\nhalf"], "too slow"),
        ([CHUNKED + b"2\r\nhi\r\n"], "too slow"),
        ([GET % 1 + b"\r\n"], "reads nothing"),
    ],
)
async def test_a_client_that_exceeds_its_time_is_dropped(
    connect: Connect, sent: list[bytes], reason: str
) -> None:
    connection = connect(seconds=0.01)
    connection.answering.clear()
    connection.gives(*sent)
    if reason == "reads nothing":
        connection.protocol.pause_writing()
    await eventually(lambda: connection.closed)
    connection.answering.set()
    await connection.is_dropped(reason)


async def test_a_pipelined_half_request_has_the_same_deadline(connect: Connect) -> None:
    await connect(seconds=0.01).gives(GET % 1 + b"\r\n" + GET % 2).is_dropped("too slow", 200)


async def test_no_timer_runs_for_a_client_that_has_sent_and_read_all(connect: Connect) -> None:
    connection = connect()
    connection.answering.clear()
    connection.gives(GET % 1 + b"\r\n")
    connection.protocol.pause_writing()
    connection.protocol.resume_writing()
    assert connection.protocol._timers == {}  # noqa: SLF001 - its deadlines
    connection.answering.set()
    await connection.answers("/1 ")


async def test_progress_of_a_body_extends_its_deadline(connect: Connect) -> None:
    connection = connect().gives(POST + b"Content-Length: 999999\r\n\r\n")
    before = connection.protocol._timers["too slow"]  # noqa: SLF001 - as above
    connection.gives(b"x" * HEAD_BYTES)
    assert not before.cancelled()
    connection.gives(b"x")
    assert before.cancelled()
    connection.close()
    await eventually(lambda: not connection.state.tasks)
    assert not connection.sent


async def test_the_number_of_connections_is_limited(connect: Connect) -> None:
    connection = connect(most=0)
    await connection.is_dropped("too many", 503)
    assert 0 < options(H11Protocol, seconds=1)["http"].most <= DESCRIPTORS / 2
