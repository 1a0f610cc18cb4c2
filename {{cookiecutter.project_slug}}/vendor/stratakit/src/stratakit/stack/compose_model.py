"""The services of the project as Compose takes them: found, so that nobody has to list them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .. import project
from ..project import Service
from ..pyproject import ROOT
from ..results import write
from . import ports, record
from .states import HOST

PORT = 8000
"""Where a service listens in its container, as its Dockerfile says."""
ANY_HOST = "0.0.0.0"  # noqa: S104 - of the container; its port is published for this machine alone


def model(given: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    """Return the services of the project as Compose takes them, each with the variables given."""
    return {
        "services": {
            each.name: _described(each, given.get(each.name, {}))
            for each in project.services()
            if each.port is not None
        }
    }


def _described(service: Service, variables: Mapping[str, str]) -> dict[str, Any]:
    dockerfile = service.path.relative_to(ROOT) / "Dockerfile"
    return {
        # Compose itself would put a hyphen in between: `a` with `web-api`, `a-web` with `api`.
        "container_name": f"${{COMPOSE_PROJECT_NAME}}.{service.name}",
        "image": f"${{COMPOSE_PROJECT_NAME}}/{service.name}",
        "build": {"context": ".", "dockerfile": dockerfile.as_posix()},
        "env_file": [{"path": ".env", "required": False}],
        # Compose would take a single dollar for a variable of its own.
        "environment": {name: value.replace("$", "$$") for name, value in variables.items()},
        "ports": [f"{HOST}:{ports.of(service)}:{PORT}"],
        "depends_on": list(service.needs),
    }


def describe(given: Mapping[str, Mapping[str, str]]) -> None:
    """Write the model to where Compose is told to read it."""
    record.folder()
    write(file(), json.dumps(model(given), indent=2))


def file() -> Path:
    """Return where the model is."""
    return record.file().with_name("compose.json")
