"""What surrounds every request: its id, its line in the log, and the answer to a crash."""

import logging
import re
import time
from http import HTTPStatus
from uuid import uuid4

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from . import health, problem

HEADER = "X-Request-ID"
# Of others' ids only those that can do no harm in a log or a header.
_ACCEPTED = re.compile(r"[A-Za-z0-9._-]{1,128}")

log = structlog.get_logger("access")


class AccessLog:
    """ASGI middleware. Outermost, so that a crash has an id, a line and a problem as well."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        status: int | None = None

        async def reply(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[HEADER] = request_id
            await send(message)

        start = time.perf_counter()
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self._app(scope, receive, reply)
            except Exception:
                log.exception("crash")
                if status is not None:
                    raise
                crash = problem.response(HTTPStatus.INTERNAL_SERVER_ERROR)
                await crash(scope, receive, reply)
            finally:
                # Probes come every few seconds, and tell nothing while all is well.
                quiet = scope["path"].startswith(health.PREFIX) and status == HTTPStatus.OK
                log.log(
                    logging.DEBUG if quiet else logging.INFO,
                    "request",
                    method=scope["method"],
                    path=scope["path"],
                    status=status,
                    duration_ms=round(1000 * (time.perf_counter() - start), 3),
                )


def _request_id(scope: Scope) -> str:
    given = Headers(scope=scope).get(HEADER, "")
    return given if _ACCEPTED.fullmatch(given) else uuid4().hex
