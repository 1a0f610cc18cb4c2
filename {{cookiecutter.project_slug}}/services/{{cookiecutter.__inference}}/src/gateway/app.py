"""The application, on any ports. What it runs on in production is in bootstrap.py."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import Any

from fastapi import FastAPI
from pydantic.json_schema import models_json_schema
from starlette.routing import Match, Route
from starlette.types import Scope

from servicebase import health

from . import accounts
from .api import accounts as accounts_api
from .api import admin, completions, dependencies, error_handlers, metrics, middleware, models
from .background import Background
from .completion_service import CompletionService
from .concurrency import ConcurrencyLimit
from .metrics import Metrics
from .options import Options
from .policy import Policy
from .ports import Ports

NAME = "gateway"
# In the order in which they are looked through: what is asked for most comes first.
ROUTERS = (
    completions.router,
    models.router,
    health.router(
        dependencies.servers, down=error_handlers.unavailable, documented=error_handlers.documented
    ),
    metrics.router,
    accounts_api.router,
    admin.router,
)
ROUTES = [route for router in ROUTERS for route in router.routes]


class FastRoute(Route):
    """A route to an endpoint that reads and writes by itself.

    What FastAPI does around an endpoint would cost it a quarter more, for nothing.
    """

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Tell which route it was, as FastAPI's do."""
        match, found = super().matches(scope)
        return match, {**found, "route": self}


# Those that FastAPI made of them come after these, for the OpenAPI page.
FAST = [
    FastRoute(route.path, route.endpoint, methods=route.methods)
    for route in completions.router.routes
    if isinstance(route, Route)
]

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


class Application(FastAPI):
    """FastAPI whose OpenAPI page has what FastAPI does not see, and not what never happens."""

    def openapi(self) -> dict[str, Any]:
        """Return the page."""
        page = super().openapi()
        bodies = completions.BODIES
        _, found = models_json_schema(
            [(body, "validation") for body in bodies], ref_template="#/components/schemas/{model}"
        )
        schemas = page["components"]["schemas"]
        schemas.update(found["$defs"])
        for path in page["paths"].values():
            for operation in path.values():
                operation["responses"].pop("422", None)
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        return page


def create_app(ports: Ports, options: Options, *, lifespan: Lifespan | None = None) -> FastAPI:
    """Return the application on these ports; `lifespan` is around its own."""
    background = Background()
    policy = Policy(ports)

    @asynccontextmanager
    async def living(app: FastAPI) -> AsyncIterator[None]:
        async with lifespan(app) if lifespan else nullcontext():
            following = asyncio.create_task(policy.follow())
            try:
                yield
            finally:
                following.cancel()
                # However it ended: what is left to do is done.
                await asyncio.wait([following])
                await background.drain()

    app = Application(
        title=NAME,
        # Of the API, which its paths begin with.
        version="1",
        lifespan=living,
        # Included ones FastAPI would make anew for each application, and be slower to find.
        routes=[*FAST, *ROUTES],
        # A redirect loses the scheme behind a proxy that ends TLS; a 404 says what is wrong.
        redirect_slashes=False,
    )
    concurrency = ConcurrencyLimit(options.max_concurrency)
    counted = Metrics(concurrency)
    state = app.state
    state.ports, state.options = ports, options
    state.keys = accounts.Keys(options.secret)
    state.policy, state.concurrency, state.metrics = policy, concurrency, counted
    state.background = background
    state.completions = CompletionService(ports, policy, concurrency, counted, background)
    error_handlers.install(app)
    app.add_middleware(middleware.BodyLimit)
    app.add_middleware(middleware.AccessLog, metrics=counted)
    return app
