"""Application on any ports. bootstrap.py has those of production."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from importlib import metadata

from fastapi import FastAPI

from servicebase import health, problem
from servicebase.middleware import AccessLog, BodyLimit

from .api import dependencies, routes
from .ports import Ports

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]

NAME = "{{ cookiecutter.service }}"
VERSION = metadata.version("{{ cookiecutter.project_slug }}-{{ cookiecutter.service }}")
# FastAPI would rebuild included routers for each application.
ROUTES = [*health.router(dependencies.servers).routes, *routes.router.routes]


def create_app(ports: Ports, *, lifespan: Lifespan | None = None) -> FastAPI:
    """Return the application on these ports."""
    app = FastAPI(
        title=NAME,
        version=VERSION,
        lifespan=lifespan,
        routes=[*ROUTES],
        # A redirect loses the scheme behind a proxy that terminates TLS; a 404 shows the mistake.
        redirect_slashes=False,
    )
    app.state.ports = ports
    problem.install(app)
    app.add_middleware(BodyLimit)
    app.add_middleware(AccessLog)
    return app
