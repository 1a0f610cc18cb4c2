"""Settings: of test runs in .env.test, of services in .env, and the environment before both."""

import os
import re
import sys

from .. import project
from ..errors import ConfigurationError, InfrastructureError
from ..pyproject import ROOT
from .run import ask

LOAD = "from {package} import settings; settings.load(settings.Settings)"
"""Reads the settings of a service as it does itself when it starts."""
FILE = ROOT / ".env"


def of_tests() -> str:
    """Look at what test runs are set to."""
    from .. import settings

    found = settings.load().model_dump(exclude_defaults=True, by_alias=True)
    said = [f"{name}={settings.masked(str(value))}" for name, value in found.items()]
    return ", ".join(said) or "nothing is set"


def of_services() -> str:
    """Look at .env: readable, with what .env.example has, and as each service wants it."""
    if not FILE.exists():
        raise InfrastructureError(
            ".env is not there", "uv run invoke setup, or: cp .env.example .env"
        )
    try:
        text = FILE.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f".env cannot be read: {error}", "cp .env.example .env, and set again what was yours"
        ) from error
    if "change_me" in text.lower():
        names = re.findall(r"(?im)^\s*(\w+)\s*=.*change_me", text)
        raise ConfigurationError(
            f"{', '.join(names)} in .env still holds the placeholder CHANGE_ME",
            "write the real value into .env",
        )
    return ", ".join(f"{each.name} {_read_by(each)}" for each in project.services())


def _read_by(service: project.Service) -> str:
    done = ask(sys.executable, "-c", LOAD.format(package=service.package))
    if done.returncode == 0:
        from ..stack import service_env

        service_env.refuse_misspelt(service, {**service_env.dotenv(), **os.environ})
        return "can start with it"
    # Ours end in such an error, after a traceback; another service may do without such a module.
    said = done.stdout.rpartition("SettingsError: ")[2].strip()
    if said == done.stdout.strip():
        return "reads its settings in a way of its own"
    what, _, hint = said.partition("\n  hint: in the environment or in .env: ")
    raise ConfigurationError(f"{service.name}: {what}", hint or "correct it in .env")
