"""The application, on any ports. What it runs on in production is in production.py."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from importlib import metadata

from fastapi import FastAPI

from .api import access, health, problem, routes
from .ports import Ports

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]

VERSION = metadata.version("{{ cookiecutter.project_slug }}-{{ cookiecutter.service }}")


def create_app(ports: Ports, *, lifespan: Lifespan | None = None) -> FastAPI:
    """Return the application on these ports."""
    app = FastAPI(
        title="{{ cookiecutter.service }}",
        version=VERSION,
        lifespan=lifespan,
        # Routers that are included FastAPI would make anew for each application.
        routes=[*health.router.routes, *routes.router.routes],
        # A redirect loses the scheme behind a proxy that ends TLS; a 404 says what is wrong.
        redirect_slashes=False,
    )
    app.state.ports = ports
    problem.install(app)
    app.add_middleware(access.AccessLog)
    return app
