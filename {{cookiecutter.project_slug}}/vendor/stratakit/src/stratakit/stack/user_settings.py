"""Settings of services that are the user's own; the secret ones are made up where there is none."""

import importlib
import json
import os
import secrets
from collections.abc import Iterable

from dotenv import dotenv_values

from ..errors import MISSPELT, ConfigurationError, did_you_mean
from ..project import Service
from ..pyproject import ROOT
from ..results import write
from . import record

BYTES = 32
"""Of chance in a secret that is made up."""


def of(service: Service) -> dict[str, str]:
    """Return what .env and the environment say to a service, and its secrets, as variables.

    In a container it cannot read .env. What is made up is kept with the stack: hashes and tokens
    that depend on it outlive a restart.

    Raises:
        ConfigurationError: .env cannot be read, or a name is misspelt.
    """
    given = {**dotenv(), **os.environ}
    refuse_misspelt(service, given)
    own = {
        name: value for name, value in given.items() if name.startswith(service.prefix) and value
    }
    missing = {service.prefix + name for name in service.secrets} - own.keys()
    if not missing:
        return own
    kept = record.folder() / "secrets.json"
    made: dict[str, str] = json.loads(kept.read_bytes()) if kept.exists() else {}
    found = {name: made.setdefault(name, make_secret()) for name in sorted(missing)}
    write(kept, json.dumps(made))
    return own | found


def refuse_misspelt(service: Service, given: Iterable[str]) -> None:
    """Refuse a name in `given` that is all but one of a setting of the service.

    Others that begin alike are let be: Kubernetes sets some for whatever it calls by that name.

    Raises:
        ConfigurationError: there is one.
    """
    known = _known(service)
    for name in given:
        meant = did_you_mean(name.upper(), known, alike=MISSPELT)
        if meant and name.upper() not in known:
            raise ConfigurationError(
                f"there is no setting {name} of {service.name}",
                f"{meant} Correct it in the environment or in .env",
            )


def _known(service: Service) -> list[str]:
    """Return the names of a service's settings; none if it reads them in a way of its own."""
    try:
        module = importlib.import_module(f"{service.package}.settings")
    except Exception:  # noqa: BLE001 - whatever is wrong with it, the service says when it starts
        return []
    fields = getattr(getattr(module, "Settings", None), "model_fields", {})
    return [f"{service.prefix}{name.upper()}" for name in fields]


def make_secret() -> str:
    """Return a new secret, which needs no quotes wherever it stands."""
    return secrets.token_urlsafe(BYTES)


def dotenv() -> dict[str, str | None]:
    """Return what .env holds, empty where there is none.

    Raises:
        ConfigurationError: it cannot be read.
    """
    try:
        return dotenv_values(ROOT / ".env")
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f".env cannot be read: {error}", "cp .env.example .env, and set again what was yours"
        ) from error
