"""Limits of a connection: bytes of headers, time, and one request at a time.

uvicorn leaves these to a proxy. Both of its parsers, httptools and h11, are given only complete
headers, and only the body of the current request.
"""

import asyncio
import re
import sys
from collections import Counter
from typing import Any, ClassVar

import structlog

HEAD_BYTES = 64 * 2**10
"""Limit of a request's line and headers, and of chunk framing and trailers around its body."""
HEAD_LINES = 100
DRAINED = 64 * HEAD_BYTES
"""Bytes of a body to discard, so that a client that is refused early can read why."""
DESCRIPTORS = 2**13
"""Number of open files and connections that the process asks the system for."""

REASONS = ("malformed", "headers", "too slow", "reads nothing", "too many")
DROPPED: Counter[str] = Counter()
"""Number of connections that this process has dropped, by reason."""

_LENGTH = re.compile(rb"(?im)^content-length[ \t]*:[ \t]*(.*?)[ \t]*\r$")
_NUMBER = re.compile(rb"[0-9]{1,18}")
_CODED = re.compile(rb"(?im)^transfer-encoding[ \t]*:")
# No service speaks another protocol, and a request for one may be ignored (RFC 9110, 7.8).
# httptools would take its body for the next request. The replacement has the same length.
_UPGRADE = re.compile(rb"(?im)^upgrade(?=[ \t]*:)")
_IGNORED = b"x-upgrd"
_CHUNKED = -1

log = structlog.get_logger("transport")


class Guard(asyncio.Protocol):
    """Base that `options` puts before a uvicorn parser, which has these attributes and methods."""

    seconds: ClassVar[float]
    connections: set[object]
    cycle: Any
    flow: Any
    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport
    most: ClassVar[int]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for a request, or drop the connection if there are too many."""
        super().connection_made(transport)
        self._held = bytearray()
        self._searched = self._left = self._idle = self._progress = 0
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._wait("too slow")
        if len(self.connections) > self.most:
            self._drop("too many", 503)

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the connection's timers."""
        self._stop("too slow")
        self._stop("reads nothing")
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Pass on complete headers, and bodies; pipelined requests wait for their turn."""
        self._unset_keepalive_if_required()  # pyrefly: ignore[missing-attribute]  # the parser's
        self._held += data
        while self._held and not self.transport.is_closing():
            if self._left:
                self._feed_body()
            elif self.cycle and not self.cycle.response_complete:
                self._stop("too slow")
                self.flow.pause_reading()
                return
            elif not self._feed_head():
                return
        if self._left and "too slow" not in self._timers:
            self._wait("too slow")

    def on_response_complete(self) -> None:
        """Continue with the data that arrived in the meantime."""
        super().on_response_complete()  # pyrefly: ignore[missing-attribute]  # the parser's
        if self._held:
            self.loop.call_soon(self.data_received, b"")

    def pause_writing(self) -> None:
        """Start the timer for the client to read what it was sent."""
        super().pause_writing()
        self._wait("reads nothing")

    def resume_writing(self) -> None:
        """Cancel the timer, since the client has read."""
        self._stop("reads nothing")
        super().resume_writing()

    def _feed_head(self) -> bool:
        """Pass on a request's line and headers; return whether they are complete."""
        found = self._held.find(b"\r\n\r\n", self._searched)
        end = len(self._held) if found < 0 else found + 4
        if end > HEAD_BYTES or self._held.count(b"\n", 0, end) > HEAD_LINES:
            self._drop("headers", 431)
        elif found < 0:
            if not self._searched:
                self._wait("too slow")
            self._searched = max(0, end - 3)
            return False
        else:
            self._begin(bytes(self._held[:end]))
            del self._held[:end]
        return True

    def _begin(self, head: bytes) -> None:
        self._stop("too slow")
        self._searched = self._idle = self._progress = 0
        lengths, coded = _LENGTH.findall(head), _CODED.search(head)
        good = len(lengths) + bool(coded) <= 1 and all(map(_NUMBER.fullmatch, lengths))
        if not good or head.lstrip().startswith(b"CONNECT"):
            self._drop("malformed", 400)
            return
        super().data_received(_UPGRADE.sub(_IGNORED, head))
        self._left = _CHUNKED if coded else int(lengths[0]) if lengths else 0

    def _feed_body(self) -> None:
        cycle = self.cycle
        part = bytes(self._held if self._left == _CHUNKED else self._held[: self._left])
        del self._held[: len(part)]
        before = len(cycle.body)
        super().data_received(part)
        self._idle = 0 if len(cycle.body) > before else self._idle + len(part)
        self._progress += len(part)
        if self._left > 0:
            self._left -= len(part)
        elif not cycle.more_body:
            # Data after the last chunk has not been parsed, so no further request may follow.
            self._left = 0
            cycle.keep_alive = False
            if cycle.response_complete:
                self.transport.close()
        if self.cycle is not cycle:
            self.cycle = cycle
            self._drop("malformed")
        elif self._idle > (DRAINED if cycle.response_complete else HEAD_BYTES):
            self._drop("headers")
        elif not self._left:
            self._stop("too slow")
        elif self._progress > HEAD_BYTES and not cycle.response_complete:
            self._progress = 0
            self._wait("too slow")

    def _wait(self, reason: str) -> None:
        """Restart a client's timer: for headers, for every 64 KiB of a body, or to read."""
        self._stop(reason)
        self._timers[reason] = self.loop.call_later(self.seconds, self._drop, reason)

    def _stop(self, reason: str) -> None:
        if timer := self._timers.pop(reason, None):
            timer.cancel()

    def _drop(self, reason: str, status: int | None = None) -> None:
        """Close the connection; a status may be sent only while no request is being answered."""
        DROPPED[reason] += 1
        log.warning("connection dropped", reason=reason)
        if status:
            answer = f"HTTP/1.1 {status} \r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            self.transport.write(answer.encode())
            self.transport.close()
        else:
            self.transport.abort()


def options(
    parser: type[asyncio.Protocol], *, seconds: float, most: int | None = None
) -> dict[str, Any]:
    """Return the options for uvicorn that give a parser of it the limits of this module.

    Args:
        parser: uvicorn's parser class.
        seconds: time for a client to send headers or 64 KiB of a body, or to read what it was sent.
        most: concurrent connections; by default half of the files that the process may open, since
            databases and backends need some.
    """
    namespace = {"seconds": seconds, "most": _descriptors() // 2 if most is None else most}
    return {
        "http": type("Guarded", (Guard, parser), namespace),
        "ws": "none",
        # Larger than our limit, which reports the reason.
        "h11_max_incomplete_event_size": 2 * HEAD_BYTES,
    }


def _descriptors() -> int:
    """Raise the process's limit of open files as far as it is allowed to, and return it."""
    if sys.platform == "win32":
        return DESCRIPTORS
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, DESCRIPTORS)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    except (OSError, ValueError):  # macOS has another limit, which it does not report.
        return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return most
