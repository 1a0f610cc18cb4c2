"""Names of databases that runs create: a checksum in each proves that it is ours.

Nothing is ever dropped because of its prefix, which others may use as well. The checksum includes
the project: names of the project `a-kept` have the same prefix as kept databases of `a`.
"""

import hashlib
import re
import secrets

from .errors import ConfigurationError
from .pyproject import table

LIMIT = 63
"""Bytes of a name that PostgreSQL keeps."""

_RUN = re.compile(r"_(?P<run>[0-9a-f]{8})_")


def new_run() -> str:
    """Return an identifier for one test run, eight hexadecimal digits."""
    return secrets.token_hex(4)


def database(run: str, tag: str) -> str:
    """Return the name of a run's database for `tag`, such as the name of a worker."""
    return _signed(f"{prefix()}_{run}_{tag}")


def template(digest: str, role: str) -> str:
    """Return the name of the migrated template with the digest `digest` and table owner `role`."""
    return _signed(f"{prefix()}_tpl_{_checksum(role)}{digest[:8]}")


def named(service: str, purpose: str, mark: str) -> str:
    """Return the name of a service's `dev` or `test` database, in the checkout with this mark."""
    return "_".join(part for part in (prefix(), _plain(service), mark, purpose) if part)


def snapshot(database: str, label: str) -> str:
    """Return the name of the snapshot `label` of a database."""
    return _signed(f"{prefix()}_snap_{_checksum(f'{database}/{label}')}")


def kept(database: str) -> str:
    """Return the new name of a run's database that is kept because its test failed."""
    return _signed(f"{prefix()}_kept_{_checksum(database)}")


def owner(service: str, mark: str) -> str:
    """Return the owner that is recorded in a `dev` or `test` database: service and checkout."""
    return f"{table()['project']}/{service}{f'@{mark}' if mark else ''}"


def is_owner(said: str | None, mark: str) -> bool:
    """Return whether a database with this recorded owner may belong to this checkout."""
    if said is None:
        return not mark
    name, _, rest = said.rpartition("/")
    return name == table()["project"] and rest.partition("@")[2] == mark


def run_of(name: str) -> str | None:
    """Return the run that a database belongs to, or None if no run of this project created it."""
    found = _RUN.match(name, len(prefix())) if name.startswith(prefix()) else None
    return found["run"] if found and is_ours(name) else None


def is_kept(name: str) -> bool:
    """Return whether a database was kept because its test failed."""
    return name.startswith(f"{prefix()}_kept_") and is_ours(name)


def is_template(name: str) -> bool:
    """Return whether a database is a migrated template."""
    return name.startswith(f"{prefix()}_tpl_") and is_ours(name)


def is_ours(name: str) -> bool:
    """Return whether `name` was generated for this project."""
    body, _, checksum = name.rpartition("_")
    return body.startswith(f"{prefix()}_") and checksum == _checksum(body)


def prefix() -> str:
    """Return the common prefix of the project's database names."""
    return _plain(str(table()["project"]))


def _signed(body: str) -> str:
    name = f"{body}_{_checksum(body)}"
    if len(name) > LIMIT:
        raise ConfigurationError(
            f"the database name {name} is longer than the {LIMIT} bytes that PostgreSQL keeps",
            "shorten `project` in [tool.stratakit] of pyproject.toml, or the service's name",
        )
    return name


def _checksum(body: str) -> str:
    # The unmodified project name: `a-b` and `a_b` have the same prefix.
    text = f"{table()['project']}\0{body}"
    return hashlib.blake2s(text.encode(), digest_size=4).hexdigest()


def _plain(name: str) -> str:
    return name.replace("-", "_")
