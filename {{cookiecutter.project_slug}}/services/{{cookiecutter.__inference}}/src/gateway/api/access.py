"""What surrounds every request: its id, its log line, its counters, the answer to a crash."""

import logging
import re
import secrets
import time
from http import HTTPStatus

import structlog
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..metrics import Metrics
from . import failures, health
from .metrics import PATH as METRICS

HEADER = "X-Request-ID"
# Of others' ids only those that can do no harm in a log or a header.
_ACCEPTED = re.compile(rb"[A-Za-z0-9._-]{1,128}")
_NAME = HEADER.lower().encode()
# As nginx has it: no server answers with it, since nobody is there to read it.
CLIENT_GONE = 499

log = structlog.get_logger("access")


class AccessLog:
    """ASGI middleware. Outside of all others, so that a crash has an id, a line and an answer."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

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
        self._metrics.in_flight.inc()
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self._app(scope, receive, reply)
            except ClientDisconnect:
                pass  # In the middle of its request: there is nobody to answer.
            except Exception:
                log.exception("crash")
                if status != CLIENT_GONE:
                    raise
                crash = failures.response(HTTPStatus.INTERNAL_SERVER_ERROR)
                await crash(scope, receive, reply)
            finally:
                seconds = time.perf_counter() - start
                self._metrics.in_flight.dec()
                self._count(scope, status, seconds)
                # Probes come every few seconds, and tell nothing while all is well.
                probe = scope["path"].startswith((health.PREFIX, METRICS))
                log.log(
                    logging.DEBUG if probe and status == HTTPStatus.OK else logging.INFO,
                    "request",
                    method=scope["method"],
                    path=scope["path"],
                    status=status,
                    duration_ms=round(1000 * seconds, 3),
                )

    def _count(self, scope: Scope, status: int, seconds: float) -> None:
        # The template: paths hold ids, and each would be a series of its own.
        route = getattr(scope.get("route"), "path", "")
        self._metrics.answered(scope["method"], route, status, seconds)


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == _NAME and _ACCEPTED.fullmatch(value):
            return str(value, "ascii")
    return secrets.token_hex(16)
