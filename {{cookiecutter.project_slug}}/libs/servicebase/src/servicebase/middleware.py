"""ASGI middleware: request ids, the access log, a body limit, and last-resort responses."""

import asyncio
import re
import secrets
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import ClassVar

import structlog
from fastapi import Response
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from . import health, problem

HEADER = "X-Request-ID"
CLIENT_GONE = 499
"""Logged status of a request whose client has disconnected; nginx's code, never sent."""
BODY_BYTES = 64 * 2**10
STOPPING = "the service is stopping; try again"
RETRY = {"Retry-After": "1"}
# Client-supplied ids that are safe in a log and in a header.
_ACCEPTED = re.compile(r"[A-Za-z0-9._-]{1,128}")

log = structlog.get_logger("access")


class AccessLog:
    """ASGI middleware, outermost so that a crash also has an id, a log line and a response.

    A service overrides `began` and `ended` to count requests, and `respond` for another format.
    """

    QUIET: ClassVar[tuple[str, ...]] = (health.PREFIX,)
    """Path prefixes logged at debug level on success: probes come every few seconds."""
    respond: ClassVar[Callable[..., Response]] = staticmethod(problem.response)
    """Makes the response to a crash, or to a request that a shutdown has interrupted."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        # Bound once: doing it for each line would take half as long again.
        self._log = log.bind()

    def began(self) -> None:
        """Record the start of a request."""

    def ended(self, scope: Scope, status: int, seconds: float) -> None:
        """Record the end of a request."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = filter(_ACCEPTED.fullmatch, Headers(scope=scope).getlist(HEADER))
        request_id = next(given, None) or secrets.token_hex(16)
        status = CLIENT_GONE

        async def reply(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message).append(HEADER, request_id)
            await send(message)

        start = time.perf_counter()
        self.began()
        # Other values that the service binds, such as the caller, are in the line too.
        structlog.contextvars.bind_contextvars(request_id=request_id)
        try:
            await self._app(scope, receive, reply)
        except ClientDisconnect:
            pass  # There is no client to respond to.
        except asyncio.CancelledError:
            if status != CLIENT_GONE:
                raise
            stopping = self.respond(HTTPStatus.SERVICE_UNAVAILABLE, STOPPING, headers=RETRY)
            await stopping(scope, receive, reply)
        except Exception:
            log.exception("crash")
            if status != CLIENT_GONE:
                raise
            await self.respond(HTTPStatus.INTERNAL_SERVER_ERROR)(scope, receive, reply)
        finally:
            seconds = time.perf_counter() - start
            self.ended(scope, status, seconds)
            quiet = status == HTTPStatus.OK and scope["path"].startswith(self.QUIET)
            tell = self._log.debug if quiet else self._log.info
            tell(
                "request",
                method=scope["method"],
                path=scope["path"],
                status=status,
                duration_ms=round(1000 * seconds, 3),
            )
            structlog.contextvars.clear_contextvars()


class BodyLimit:
    """ASGI middleware that rejects compressed bodies, and cuts off large ones as they arrive.

    FastAPI reads the body before a route can check credentials, so anyone may send one.
    """

    def __init__(
        self, app: ASGIApp, *, most: int = BODY_BYTES, others: Mapping[str, int] | None = None
    ) -> None:
        """Limit bodies to `most` bytes; `others` has other limits, by prefix of the path."""
        self._app = app
        self._most = most
        self._others = others or {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"]
        most = next((n for each, n in self._others.items() if path.startswith(each)), self._most)
        encodings = {each.lower() for each in Headers(scope=scope).getlist("content-encoding")}
        left = most

        async def limited() -> Message:
            nonlocal left
            if encodings - {"", "identity"}:
                refusal = "Content-Encoding is not supported: send the body uncompressed"
                raise HTTPException(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, refusal)
            message = await receive()
            left -= len(message.get("body", b""))
            if left < 0:
                # Its name in http.HTTPStatus depends on the version of Python.
                raise HTTPException(413, f"the body is larger than {most} bytes")
            return message

        await self._app(scope, limited, send)
