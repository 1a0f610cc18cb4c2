"""Environment of a service: the user's settings, and the URLs of `dev`, which go to `.env` too.

The settings come from the environment and `.env`. Missing secrets are generated. With the URLs in
`.env`, a service that is started by hand uses `dev` like all others.
"""

import importlib
import json
import os
import re
import secrets
import sys
from collections.abc import Iterable, Mapping
from io import StringIO
from pathlib import Path

from dotenv import dotenv_values
from dotenv.parser import parse_stream

from .. import environment, redis_databases
from ..database.connection import url
from ..database.lifecycle import Database
from ..database.stamps import DEV
from ..errors import MISSPELT, ConfigurationError, did_you_mean
from ..project import Service
from ..pyproject import ROOT
from ..results import read, write
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
"""Lines that earlier versions of .env.example had instead."""


def variables(
    service: Service,
    up: Mapping[Kind, Server],
    seen: Mapping[Kind, str] | None = None,
    *,
    host: str,
    port: int,
) -> dict[str, str]:
    """Return the settings of a service, as environment variables.

    Args:
        service: the service.
        up: the servers.
        seen: their URLs as seen by the service, if they differ from ours.
        host: the address to listen on.
        port: the port to listen on.

    Raises:
        ConfigurationError: .env cannot be read, or a name is misspelt.
    """
    given = {f"{service.prefix}HOST": host, f"{service.prefix}PORT": str(port)}
    return {**_of_user(service), **given, **urls(service, up, seen)}


def urls(
    service: Service, up: Mapping[Kind, Server], seen: Mapping[Kind, str] | None = None
) -> dict[str, str]:
    """Return the settings with the URLs of a service's servers, for those that are up."""
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
    """Return the `dev` database of a service; None if it needs none or PostgreSQL is not up."""
    if "postgres" not in service.needs or "postgres" not in up:
        return None
    return Database(up["postgres"], service, DEV)


def code(service: Service) -> list[Path]:
    """Return the folders of the code that a service runs: its own first, then the libraries'."""
    return [service.path / "src", *sorted(ROOT.glob("libs/*/src"))]


def environment_with(own: Mapping[str, str]) -> dict[str, str]:
    """Return a process environment: the user's variables, those of a fast start, and `own`."""
    ours = environment.variables(Path(sys.prefix)) | dict(own)
    kept = {name: value for name, value in os.environ.items() if name not in ours}
    return kept | {name: value for name, value in ours.items() if value is not None}


def _of_user(service: Service) -> dict[str, str]:
    """Return a service's settings from .env and the environment, and its secrets, as variables.

    In a container it cannot read .env. Generated secrets are kept with the stack, so that hashes
    and tokens stay valid after a restart.
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
    made: dict[str, str] = read(kept)
    found = {name: made.setdefault(name, secrets.token_urlsafe()) for name in sorted(missing)}
    write(kept, json.dumps(made))
    return own | found


def secrets_file() -> Path:
    """Return the path of the file of generated secrets."""
    return record.folder() / "secrets.json"


def refuse_misspelt(service: Service, given: Iterable[str]) -> None:
    """Refuse names in `given` that look like a misspelt setting of the service.

    Other names with its prefix are allowed: Kubernetes sets some for a service of that name.

    Raises:
        ConfigurationError: a name is misspelt.
    """
    try:
        module = importlib.import_module(f"{service.package}.settings")
    except Exception:  # noqa: BLE001 - the service reports it when it starts
        return
    # A service may read its settings in its own way, without such a class.
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
    """Return the contents of .env, empty if the file is missing.

    Raises:
        ConfigurationError: it cannot be read.
    """
    try:
        text = FILE.read_text(encoding="utf-8") if FILE.exists() else ""
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f".env cannot be read: {error}",
            "mv .env .env.aside && uv run invoke setup, and set again what was yours",
        ) from error
    for each in parse_stream(StringIO(text)):
        # The services would ignore it, and Compose refuses the whole file.
        if each.error:
            said = each.original.string
            before = said.removesuffix(said.lstrip()).count("\n")
            # Without the line itself, which may be a secret.
            raise ConfigurationError(
                f".env cannot be read: line {each.original.line + before} is not NAME=value, or has"
                " a quote without its end",
                "correct this line, for example to NAME='value'",
            )
    return dotenv_values(stream=StringIO(text))


def noted() -> dict[str, str]:
    """Return our settings between the two comments in `.env`, except those that the user sets."""
    text = FILE.read_text(encoding="utf-8") if FILE.exists() else ""
    block = _BLOCK.search(text)
    own = _users(_BLOCK.sub("", text))
    found = dict(_LINE.findall(block[1])) if block else {}
    return {name: value for name, value in found.items() if name not in own}


def _users(text: str) -> set[str]:
    """Return the names that are set in the text of a .env file."""
    return set(re.findall(r"(?m)^\s*(?:export\s+)?(\w+)\s*=", text))


def write_dotenv(given: Mapping[str, str]) -> list[str]:
    """Write settings to `.env`, between two comments; return those that the user has set there.

    The rest of the file is the user's and is not changed; settings that they have set are skipped.

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
    """Replace the whole `.env` atomically."""
    scratch = FILE.with_name(f".env.{os.getpid()}")
    # Private before anything is written.
    scratch.touch(mode=0o600)
    if FILE.exists():
        scratch.chmod(FILE.stat().st_mode)
    scratch.write_text(text, encoding="utf-8")
    # If .env is a symlink, replace its target.
    scratch.replace(FILE.resolve())
