"""What services answer to: their routes, as their own OpenAPI documents tell."""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from secrets import token_urlsafe
from typing import Any

from . import environment, limits, programs, project, pyproject
from .errors import ConfigurationError

PLACEHOLDERS = {
    "DATABASE_URL": "postgresql://nobody@localhost/nothing",
    "REDIS_URL": "redis://localhost",
}
"""The settings that have no default, for an application that is made and never served."""


@dataclass(frozen=True, slots=True)
class Route:
    """One method of one path."""

    method: str
    path: str
    name: str
    """Its operation id, by which generated clients call it."""
    summary: str
    """The first line of what is said about it."""


def routes(service: project.Service) -> list[Route]:
    """Return the routes of a service, none of one that has no application.

    It is asked in its own environment, which is made or updated first, and reaches for no server.

    Raises:
        ConfigurationError: its application cannot be made, or the lock is missing or stale.
        InfrastructureError: its environment cannot be made.
    """
    if service.app is None:
        return []
    home = environment.of_package(service)
    synced = _run(
        environment.sync(service, home), {"UV_PROJECT_ENVIRONMENT": str(home), "VIRTUAL_ENV": None}
    )
    if synced.returncode:
        raise environment.diagnose(synced.stderr)
    prefix = service.prefix
    secrets = {name: token_urlsafe() for name in service.secrets}
    given = {prefix + name: value for name, value in {**PLACEHOLDERS, **secrets}.items()}
    told = _run(
        (str(environment.python(home)), "-m", __name__, service.app),
        {**given, **os.environ, **environment.variables(home)},
    )
    if told.returncode:
        raise ConfigurationError(
            f"the application of {service.name} cannot be made, to ask it for its routes:\n"
            f"{told.stderr.strip()}",
            f"fix what it says; a setting, in .env or the environment: {prefix}NAME=value",
        )
    # What the service logs while it is made comes before.
    return [Route(*row) for row in json.loads(told.stdout.splitlines()[-1])]


def _rows(app: str) -> list[tuple[str, str, str, str]]:
    """Return the fields of the routes of an application, given as `module:function`."""
    module, _, factory = app.partition(":")
    document = getattr(import_module(module), factory)().openapi()
    return [
        (method.upper(), path, operation["operationId"], _summary(operation))
        for path, item in document["paths"].items()
        for method, operation in item.items()
    ]


def _summary(operation: Mapping[str, Any]) -> str:
    said: str = operation.get("description") or operation["summary"]
    return said.partition("\n")[0]


def _run(command: Sequence[str], variables: Mapping[str, str | None]) -> programs.Completed:
    env = {**os.environ, **variables}
    return programs.run(
        command,
        limits.DOWNLOAD,
        cwd=pyproject.ROOT,
        env={key: value for key, value in env.items() if value is not None},
    )


if __name__ == "__main__":
    try:
        sys.stdout.write(json.dumps(_rows(sys.argv[1])) + "\n")
    except Exception as error:  # noqa: BLE001 - whatever a service does wrong is told in one line
        sys.exit(f"{type(error).__name__}: {error}")
