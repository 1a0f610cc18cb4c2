"""ASGI middleware beyond that of servicebase: metrics, and errors in the format of OpenAI's API."""

from starlette.types import ASGIApp, Scope

from servicebase import middleware

from ..metrics import Metrics
from . import error_handlers
from .pages import METRICS

BODIES = {"/v1/": 4 * 2**20, "/auth/": 4 * 2**10}
"""Body limits in bytes by path: large for requests with a key, small for those without one."""


class AccessLog(middleware.AccessLog):
    """Access log that also counts requests and answers a crash in the format of OpenAI's API."""

    QUIET = (*middleware.AccessLog.QUIET, METRICS)
    respond = staticmethod(error_handlers.response)

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        super().__init__(app)
        self._metrics = metrics

    def began(self) -> None:
        """Count a request in flight."""
        self._metrics.in_flight.inc()

    def ended(self, scope: Scope, status: int, seconds: float) -> None:
        """Count a response."""
        self._metrics.in_flight.dec()
        # The path's template: with ids, each path would be a time series of its own. Only the route
        # context knows the template of a nested router's route.
        route = scope.get("fastapi", {}).get("effective_route_context") or scope.get("route")
        self._metrics.answered(scope["method"], getattr(route, "path", ""), status, seconds)
