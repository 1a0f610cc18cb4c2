"""Settings of services that are the user's own; the secret ones are made up where there is none."""

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


def of(service: Service) -> dict[str, str]:
    """Return what .env and the environment say to a service, and its secrets, as variables.

    In a container it cannot read .env. What is made up is kept with the stack: hashes and tokens
    that depend on it outlive a restart.

    Raises:
        ConfigurationError: .env cannot be read.
    """
    given = {**_dotenv(), **os.environ}
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


def make_secret() -> str:
    """Return a new secret, which needs no quotes wherever it stands."""
    return secrets.token_urlsafe(BYTES)


def _dotenv() -> dict[str, str | None]:
    try:
        return dotenv_values(ROOT / ".env")
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f".env cannot be read: {error}", "cp .env.example .env, and set again what was yours"
        ) from error
