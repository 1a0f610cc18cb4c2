"""What a service is given: its user's settings, and the URLs of `dev`; the latter in `.env` too.

The settings are those that the environment and `.env` hold. Secrets that are missing are made up.
By the URLs in `.env`, a service that is started by hand uses `dev` like all others.
"""

import importlib
import json
import os
import re
import secrets
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from dotenv import dotenv_values

from .. import environment, redis_databases
from ..database.connection import url
from ..database.lifecycle import Database
from ..database.stamps import DEV
from ..errors import MISSPELT, ConfigurationError, did_you_mean
from ..project import Service
from ..pyproject import ROOT
from ..results import write
from ..servers import Kind, Server, checkout
from . import record

FILE = ROOT / ".env"
BEGIN = "# dev: written by `uv run invoke stack.up` and `db.setup`"
END = "# dev: until here"
_BLOCK = re.compile(rf"^{re.escape(BEGIN)}\n(.*?)^{re.escape(END)}\n?", re.MULTILINE | re.DOTALL)
_LINE = re.compile(r"^(\w+)='?(.*?)'?$", re.MULTILINE)
_BEFORE = re.compile(
    r"^\w+_(DATABASE_URL=postgresql\+asyncpg://postgres:postgres@localhost:5432/postgres"
    r"|REDIS_URL=redis://localhost:6379/0)\n",
    re.MULTILINE,
)
"""What .env.example has had instead."""


def variables(
    service: Service,
    up: Mapping[Kind, Server],
    seen: Mapping[Kind, str] | None = None,
    *,
    host: str,
    port: int,
) -> dict[str, str]:
    """Return the settings of a service, as variables of its environment.

    Args:
        service: whose.
        up: the servers.
        seen: their URLs as the service reaches them, where it does so in another way than we do.
        host: the address that it is to listen on.
        port: the port that it is to listen on.

    Raises:
        ConfigurationError: .env cannot be read, or a name is misspelt.
    """
    given = {f"{service.prefix}HOST": host, f"{service.prefix}PORT": str(port)}
    return {**_of_user(service), **given, **urls(service, up, seen)}


def urls(
    service: Service, up: Mapping[Kind, Server], seen: Mapping[Kind, str] | None = None
) -> dict[str, str]:
    """Return the settings that say where the servers of a service are, as far as they are up."""
    addresses = seen or {kind: server.url for kind, server in up.items()}
    found = {}
    own = database(service, up)
    if own:
        address = url(addresses["postgres"], own.name)
        found[f"{service.prefix}DATABASE_URL"] = address.render_as_string(hide_password=False)
    if "redis" in service.needs and "redis" in up:
        number = redis_databases.reserve(up["redis"].url, checkout.mark())
        found[f"{service.prefix}REDIS_URL"] = redis_databases.url(addresses["redis"], number)
    return found


def database(service: Service, up: Mapping[Kind, Server]) -> Database | None:
    """Return the database of a service; None if it needs none."""
    if "postgres" not in service.needs or "postgres" not in up:
        return None
    return Database(up["postgres"], service, DEV)


def code(service: Service) -> list[Path]:
    """Return the folders of the code that a service runs: its own first, then the libraries'."""
    return [service.path / "src", *sorted(ROOT.glob("libs/*/src"))]


def environment_with(own: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a service's process: the user's variables, its own, fast starts."""
    ours = environment.variables(Path(sys.prefix)) | dict(own)
    kept = {name: value for name, value in os.environ.items() if name not in ours}
    return kept | {name: value for name, value in ours.items() if value is not None}


def _of_user(service: Service) -> dict[str, str]:
    """Return what .env and the environment say to a service, and its secrets, as variables.

    In a container it cannot read .env. What is made up is kept with the stack: hashes and tokens
    that depend on it outlive a restart.
    """
    given = {**dotenv(), **os.environ}
    refuse_misspelt(service, given)
    own = {
        name: value for name, value in given.items() if name.startswith(service.prefix) and value
    }
    missing = {service.prefix + name for name in service.secrets} - own.keys()
    if not missing:
        return own
    kept = secrets_file()
    made: dict[str, str] = json.loads(kept.read_bytes()) if kept.exists() else {}
    found = {name: made.setdefault(name, secrets.token_urlsafe()) for name in sorted(missing)}
    write(kept, json.dumps(made))
    return own | found


def secrets_file() -> Path:
    """Return the file of the secrets that were made up."""
    return record.folder() / "secrets.json"


def refuse_misspelt(service: Service, given: Iterable[str]) -> None:
    """Refuse a name in `given` that is all but one of a setting of the service.

    Others that begin alike are let be: Kubernetes sets some for whatever it calls by that name.

    Raises:
        ConfigurationError: there is one.
    """
    try:
        module = importlib.import_module(f"{service.package}.settings")
    except Exception:  # noqa: BLE001 - whatever is wrong with it, the service says when it starts
        return
    # One that reads its settings in a way of its own has no such class.
    fields = getattr(getattr(module, "Settings", None), "model_fields", {})
    known = [f"{service.prefix}{name.upper()}" for name in fields]
    for name in given:
        meant = did_you_mean(name.upper(), known, alike=MISSPELT)
        if meant and name.upper() not in known:
            raise ConfigurationError(
                f"there is no setting {name} of {service.name}",
                f"{meant} Correct it in the environment or in .env",
            )


def dotenv() -> dict[str, str | None]:
    """Return what .env holds, empty where there is none.

    Raises:
        ConfigurationError: it cannot be read.
    """
    try:
        return dotenv_values(FILE)
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f".env cannot be read: {error}", "cp .env.example .env, and set again what was yours"
        ) from error


def noted() -> dict[str, str]:
    """Return what `.env` holds between the two comments; a user's own line goes before it."""
    text = FILE.read_text(encoding="utf-8") if FILE.exists() else ""
    block = _BLOCK.search(text)
    own = _users(_BLOCK.sub("", text))
    found = dict(_LINE.findall(block[1])) if block else {}
    return {name: value for name, value in found.items() if name not in own}


def _users(text: str) -> set[str]:
    """Return the names that a user sets in a text."""
    return set(re.findall(r"(?m)^\s*(?:export\s+)?(\w+)\s*=", text))


def write_dotenv(given: Mapping[str, str]) -> list[str]:
    """Write settings to `.env`, between two comments; return those that the user has set there.

    What else is in the file is its user's, and what they set is left as it is.

    Raises:
        ConfigurationError: the file cannot be read.
    """
    dotenv()
    text = FILE.read_text(encoding="utf-8") if FILE.exists() else ""
    block = _BLOCK.search(text)
    rest = _BEFORE.sub("", _BLOCK.sub("", text))
    users = _users(rest) & given.keys()
    said = {name: value for name, value in {**noted(), **given}.items() if name not in users}
    lines = "".join(f"{name}='{value}'\n" for name, value in sorted(said.items()))
    ours = f"{BEGIN}\n{lines}{END}\n"
    if block:
        new = _BEFORE.sub("", text[: block.start()] + "\0" + text[block.end() :])
        new = new.replace("\0", ours, 1)
    else:
        new = ours + ("\n" if rest else "") + rest
    if new != text:
        replace_dotenv(new)
    return sorted(users)


def replace_dotenv(text: str) -> None:
    """Write all of `.env`, in one step."""
    scratch = FILE.with_name(f".env.{os.getpid()}")
    # Nobody else may read it, from its first byte on.
    scratch.touch(mode=0o600)
    if FILE.exists():
        scratch.chmod(FILE.stat().st_mode)
    scratch.write_text(text, encoding="utf-8")
    # A link stays one.
    scratch.replace(FILE.resolve())
