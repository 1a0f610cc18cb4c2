"""What surrounds every request: its id, its line in the log, a limit, and a last answer."""

import asyncio
import re
import secrets
import time
from collections.abc import Mapping
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
"""As nginx has it: no server answers with it, since nobody is there to read it."""
BODY_BYTES = 64 * 2**10
STOPPING = "the service is stopping; try again"
RETRY = {"Retry-After": "1"}
# Of others' ids only those that can do no harm in a log or a header.
_ACCEPTED = re.compile(r"[A-Za-z0-9._-]{1,128}")

log = structlog.get_logger("access")


class AccessLog:
    """ASGI middleware. Outermost, so that a crash has an id, a line and an answer as well.

    A service that counts its requests, or answers in another shape, overrides the methods.
    """

    QUIET: ClassVar[tuple[str, ...]] = (health.PREFIX,)
    """Paths of probes: they come every few seconds, and tell nothing while all is well."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        # For each line anew would take half as long again.
        self._log = log.bind()

    def began(self) -> None:
        """Note that a request came."""

    def ended(self, scope: Scope, status: int, seconds: float) -> None:
        """Note how a request was answered."""

    def crash(self) -> Response:
        """Return the answer to a request that crashed."""
        return problem.response(HTTPStatus.INTERNAL_SERVER_ERROR)

    def stopping(self) -> Response:
        """Return the answer to a request that did not end in the time that a shutdown grants."""
        return problem.response(HTTPStatus.SERVICE_UNAVAILABLE, STOPPING, headers=RETRY)

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
        # What the service binds besides, such as who asks, is in the line as well.
        structlog.contextvars.bind_contextvars(request_id=request_id)
        try:
            await self._app(scope, receive, reply)
        except ClientDisconnect:
            pass  # There is nobody to answer.
        except asyncio.CancelledError:
            if status != CLIENT_GONE:
                raise
            await self.stopping()(scope, receive, reply)
        except Exception:
            log.exception("crash")
            if status != CLIENT_GONE:
                raise
            await self.crash()(scope, receive, reply)
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
    """ASGI middleware. Refuses a body that is too large while it comes, or that is compressed.

    FastAPI reads the body before a route can ask for a credential, so that anybody may send one.
    """

    def __init__(
        self, app: ASGIApp, *, most: int = BODY_BYTES, others: Mapping[str, int] | None = None
    ) -> None:
        """Limit bodies to `most` bytes, but those for paths that begin with one of `others`."""
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
                refusal = "a Content-Encoding is not supported: send the body as it is"
                raise HTTPException(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, refusal)
            message = await receive()
            left -= len(message.get("body", b""))
            if left < 0:
                # What http.HTTPStatus calls it depends on the version of Python.
                raise HTTPException(413, f"the body is larger than {most} bytes")
            return message

        await self._app(scope, limited, send)
