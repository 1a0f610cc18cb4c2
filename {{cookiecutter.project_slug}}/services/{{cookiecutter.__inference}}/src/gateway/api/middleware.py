"""What surrounds every request, beside what servicebase does: counters, and our shape."""

from http import HTTPStatus
from types import MappingProxyType

from fastapi import Response
from starlette.types import ASGIApp, Scope

from servicebase import middleware

from ..metrics import Metrics
from . import error_handlers
from .pages import METRICS

BODIES = MappingProxyType({"/v1/": 4 * 2**20, "/auth/": 4 * 2**10})
"""Bytes that a body may have: much for those who show a key, little for those who have none."""


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
        # The template: paths hold ids, and each would be a series of its own. That of a route in a
        # router in a router is known to its context alone.
        route = scope.get("fastapi", {}).get("effective_route_context") or scope.get("route")
        self._metrics.answered(scope["method"], getattr(route, "path", ""), status, seconds)

    def crash(self) -> Response:
        """Return a 500."""
        return error_handlers.response(HTTPStatus.INTERNAL_SERVER_ERROR)

    def stopping(self) -> Response:
        """Return a 503."""
        return error_handlers.stopping()
