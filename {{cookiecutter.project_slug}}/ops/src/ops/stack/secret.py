"""Settings of services that are secret: the user's own, else made up once for the project."""

import json
import os
import secrets

from dotenv import dotenv_values

from ..errors import ConfigurationError
from ..graph import ROOT, Service
from ..verdict import write
from . import record

BYTES = 32
"""Of chance in a secret that is made up."""


def settings(service: Service) -> dict[str, str]:
    """Return the secret settings of a service, as variables of its environment.

    What is made up is kept with the stack: hashes and tokens that depend on it outlive a restart.

    Raises:
        ConfigurationError: .env cannot be read.
    """
    names = [service.prefix + name for name in service.secrets]
    if not names:
        return {}
    kept = record.folder() / "secrets.json"
    made: dict[str, str] = json.loads(kept.read_bytes()) if kept.exists() else {}
    given = {**_dotenv(), **os.environ}
    found = {name: given.get(name) or made.setdefault(name, make()) for name in names}
    write(kept, json.dumps(made))
    return found


def make() -> str:
    """Return a new secret, which needs no quotes wherever it stands."""
    return secrets.token_urlsafe(BYTES)


def _dotenv() -> dict[str, str | None]:
    try:
        return dotenv_values(ROOT / ".env")
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f".env cannot be read: {error}", "cp .env.example .env, and set again what was yours"
        ) from error
