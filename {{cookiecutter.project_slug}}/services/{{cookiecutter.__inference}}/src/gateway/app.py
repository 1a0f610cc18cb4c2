"""The application, on any ports. bootstrap.py has those of production."""

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
from .completion_service import CompletionService
from .ports import Ports
from .settings import Settings

NAME = "gateway"


def create_app(
    ports: Ports,
    settings: Settings,
    *,
    around: AbstractAsyncContextManager[object] | None = None,
    hasher: PasswordHasher = accounts.HASHER,
) -> FastAPI:
    """Return the application on these ports; `around` is entered for its lifespan."""
    service = CompletionService(ports, settings.max_concurrency, settings.max_concurrency_of_team)

    @asynccontextmanager
    async def living(_: FastAPI) -> AsyncIterator[None]:
        async with around or nullcontext():
            renewing = asyncio.create_task(service.reservations.run())
            try:
                yield
            finally:
                renewing.cancel()
                # Even if it failed, pending work is finished.
                await asyncio.wait([renewing])
                await service.reservations.end()

    app = FastAPI(
        title=NAME,
        # Version of the API, as in its paths.
        version="1",
        lifespan=living,
        # The most frequent requests, which would be a tenth slower through an included router.
        routes=completions.router.routes,
        # FastAPI's own pages need a network; see pages.py.
        docs_url=None,
        redoc_url=None,
        # Credentials come in a header, never in a cookie, so CSRF protection is not needed.
        strict_content_type=False,
        # A redirect loses the scheme behind a proxy that terminates TLS; a 404 is clear.
        redirect_slashes=False,
        responses=error_handlers.EVERYWHERE,
    )
    probes = health.router(
        dependencies.servers, down=error_handlers.unavailable, documented=error_handlers.documented
    )
    for router in (models.router, probes, pages.router, accounts_api.router, admin.router):
        app.include_router(router)
    state = app.state
    state.ports, state.settings, state.completions = ports, settings, service
    state.credentials = accounts.Credentials(settings.secret.get_secret_value(), hasher)
    error_handlers.install(app)
    app.add_middleware(BodyLimit, others=middleware.BODIES)
    app.add_middleware(middleware.AccessLog, metrics=service.metrics)
    return app
