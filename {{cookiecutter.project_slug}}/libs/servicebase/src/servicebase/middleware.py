"""What surrounds every request: its id, its line in the log, and the answer to a crash."""

import logging
import re
import secrets
import time
from http import HTTPStatus
from typing import ClassVar

import structlog
from fastapi import Response
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from . import health, problem

HEADER = "X-Request-ID"
CLIENT_GONE = 499
"""As nginx has it: no server answers with it, since nobody is there to read it."""
# Of others' ids only those that can do no harm in a log or a header.
_ACCEPTED = re.compile(rb"[A-Za-z0-9._-]{1,128}")
_NAME = HEADER.lower().encode()

log = structlog.get_logger("access")


class AccessLog:
    """ASGI middleware. Outermost, so that a crash has an id, a line and an answer as well.

    A service that counts its requests, or answers in another shape, overrides the methods.
    """

    QUIET: ClassVar[tuple[str, ...]] = (health.PREFIX,)
    """Paths of probes: they come every few seconds, and tell nothing while all is well."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    def began(self) -> None:
        """Note that a request came."""

    def ended(self, scope: Scope, status: int, seconds: float) -> None:
        """Note how a request was answered."""

    def crash(self) -> Response:
        """Return the answer to a request that crashed."""
        return problem.response(HTTPStatus.INTERNAL_SERVER_ERROR)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        status = CLIENT_GONE

        async def reply(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (_NAME, request_id.encode())]
            await send(message)

        start = time.perf_counter()
        self.began()
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self._app(scope, receive, reply)
            except ClientDisconnect:
                pass  # In the middle of its request: there is nobody to answer.
            except Exception:
                log.exception("crash")
                if status != CLIENT_GONE:
                    raise
                await self.crash()(scope, receive, reply)
            finally:
                seconds = time.perf_counter() - start
                self.ended(scope, status, seconds)
                quiet = status == HTTPStatus.OK and scope["path"].startswith(self.QUIET)
                log.log(
                    logging.DEBUG if quiet else logging.INFO,
                    "request",
                    method=scope["method"],
                    path=scope["path"],
                    status=status,
                    duration_ms=round(1000 * seconds, 3),
                )


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == _NAME and _ACCEPTED.fullmatch(value):
            return str(value, "ascii")
    return secrets.token_hex(16)
