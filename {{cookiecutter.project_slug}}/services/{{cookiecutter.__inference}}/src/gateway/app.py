"""The application, on any ports. What it runs on in production is in bootstrap.py."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext

from argon2 import PasswordHasher
from fastapi import FastAPI

from servicebase import health
from servicebase.middleware import BodyLimit

from . import accounts
from .api import accounts as accounts_api
from .api import admin, completions, dependencies, error_handlers, middleware, models, pages
from .background import Background
from .completion_service import CompletionService
from .concurrency import ConcurrencyLimit
from .metrics import Metrics
from .policy import Policy
from .ports import Ports
from .settings import Settings

NAME = "gateway"
ROUTERS = (
    models.router,
    health.router(
        dependencies.servers, down=error_handlers.unavailable, documented=error_handlers.documented
    ),
    pages.router,
    accounts_api.router,
    admin.router,
)


def create_app(
    ports: Ports,
    settings: Settings,
    *,
    around: AbstractAsyncContextManager[object] | None = None,
    hasher: PasswordHasher = accounts.HASHER,
) -> FastAPI:
    """Return the application on these ports; `around` is entered for as long as it lives."""
    background = Background()
    policy = Policy(ports)

    @asynccontextmanager
    async def living(app: FastAPI) -> AsyncIterator[None]:
        async with around or nullcontext():
            reservations = app.state.completions.reservations
            tasks = [asyncio.create_task(policy.follow()), asyncio.create_task(reservations.run())]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()
                # However they ended: what is left to do is done.
                await asyncio.wait(tasks)
                await background.drain()
                await reservations.end()

    app = FastAPI(
        title=NAME,
        # Of the API, which its paths begin with.
        version="1",
        lifespan=living,
        # What is asked for most, and a tenth slower where a router is looked through for it.
        routes=completions.router.routes,
        # Its own needs a network.
        docs_url=None,
        redoc_url=None,
        # Who shows a key in each request needs no protection from forms of other sites.
        strict_content_type=False,
        # A redirect loses the scheme behind a proxy that ends TLS; a 404 says what is wrong.
        redirect_slashes=False,
        responses=error_handlers.EVERYWHERE,
    )
    for router in ROUTERS:
        app.include_router(router)
    concurrency = ConcurrencyLimit(settings.max_concurrency, settings.max_concurrency_of_team)
    counted = Metrics(concurrency)
    state = app.state
    state.ports, state.settings = ports, settings
    state.credentials = accounts.Credentials(settings.secret.get_secret_value(), hasher)
    state.policy, state.concurrency, state.metrics = policy, concurrency, counted
    state.background = background
    state.completions = CompletionService(ports, policy, concurrency, counted, background)
    error_handlers.install(app)
    app.add_middleware(BodyLimit, others=middleware.BODIES)
    app.add_middleware(middleware.AccessLog, metrics=counted)
    return app
