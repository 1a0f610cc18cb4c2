"""What surrounds every request, beside what servicebase does: counters, and a limit to its body."""

from http import HTTPStatus

from fastapi import Response
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from servicebase import middleware

from ..metrics import Metrics
from . import error_handlers
from .metrics import PATH as METRICS

BYTES = 4 * 2**20


class AccessLog(middleware.AccessLog):
    """Counts requests as well, and answers a crash in the shape of OpenAI's API."""

    QUIET = (*middleware.AccessLog.QUIET, METRICS)

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        super().__init__(app)
        self._metrics = metrics

    def began(self) -> None:
        """Count it."""
        self._metrics.in_flight.inc()

    def ended(self, scope: Scope, status: int, seconds: float) -> None:
        """Count it."""
        self._metrics.in_flight.dec()
        # The template: paths hold ids, and each would be a series of its own.
        route = getattr(scope.get("route"), "path", "")
        self._metrics.answered(scope["method"], route, status, seconds)

    def crash(self) -> Response:
        """Return the answer to a request that crashed."""
        return error_handlers.response(HTTPStatus.INTERNAL_SERVER_ERROR)


class BodyLimit:
    """ASGI middleware. Refuses a body while it comes, so that nothing has to say how long it is.

    No body is larger than what the process can keep for each of many requests at once. Starlette's
    own limit answers by itself, in another shape than all other errors have.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        left = BYTES

        async def limited() -> Message:
            nonlocal left
            message = await receive()
            left -= len(message.get("body", b""))
            if left < 0:
                raise HTTPException(
                    error_handlers.CONTENT_TOO_LARGE, f"the body is larger than {BYTES} bytes"
                )
            return message

        await self._app(scope, limited, send)
