"""Bringing a database to a revision of a service's migrations."""

import hashlib
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Engine, create_engine
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool

from ..errors import InfrastructureError, StrataError
from ..graph import Package, Service
from . import waits
from .connection import Connection

if TYPE_CHECKING:
    from alembic.config import Config

OUTSIDE = ("08", "53", "57P", "58")
"""Beginnings of SQLSTATEs that no migration is to blame for: connection, resources, the system."""
FORMAT = 3
"""Part of a template's name; raise it when templates are made in another way."""


class MigrationError(StrataError):
    """A migration fails: the code under test is at fault, not what it runs on."""


def migrate(connection: Connection, service: Service, revision: str = "head") -> None:
    """Bring a database up to a revision of the service's migrations.

    Raises:
        MigrationError: a migration fails, or there is not exactly one head.
        psycopg.errors.LockNotAvailable: somebody is in the way, see `waits.watched`.
    """
    # Not imported before it is needed, which is rarely: Alembic takes 0.3 s.
    from alembic import command

    with _config(connection, service) as config:
        command.upgrade(config, revision)


def rollback(connection: Connection, service: Service, revision: str = "-1") -> None:
    """Bring a database down to a revision of the service's migrations.

    Raises:
        MigrationError: a migration has no way down, or it fails.
    """
    from alembic import command

    with _config(connection, service) as config:
        command.downgrade(config, revision)


def revise(connection: Connection, service: Service, message: str) -> Path:
    """Write a migration from what the models have and the database has not; return its file.

    Raises:
        MigrationError: the models and the migrations cannot be compared.
    """
    from alembic import command

    with _config(connection, service) as config:
        script = command.revision(config, message, autogenerate=True)
    if script is None or isinstance(script, list):
        raise MigrationError(f"the migrations of {service.name} have more than one branch")
    return Path(script.path)


def head(service: Service) -> str:
    """Return the newest revision of a service's migrations; empty where there is none.

    Raises:
        MigrationError: there are several, or the files cannot be read.
    """
    from alembic.script import ScriptDirectory
    from alembic.util.exc import CommandError

    try:
        return ScriptDirectory.from_config(_alembic(service)).get_current_head() or ""
    except (CommandError, SyntaxError) as error:
        raise MigrationError(
            f"the migrations of {service.name} have no single newest one: {error}",
            f"fix services/{service.name}/migrations",
        ) from error


def digest(package: Package) -> str:
    """Return a hash of everything that decides what a migrated database looks like.

    Of all libraries, which have no migrations, it is the same: theirs is empty.
    """
    content = hashlib.sha256(f"{FORMAT}".encode())
    own = (package.path / "migrations").rglob("*.py") if isinstance(package, Service) else ()
    for file in sorted(own):
        content.update(str(file.relative_to(package.path)).encode() + b"\0" + file.read_bytes())
    return content.hexdigest()


@contextmanager
def _config(connection: Connection, service: Service) -> Iterator["Config"]:
    """Yield Alembic's configuration for a service, with a connection to the database.

    It is closed in the end, as SQLAlchemy's. That makes none of its own, which nobody has checked.
    """
    engine = engine_over(connection)
    config = _alembic(service)
    try:
        # Not in a transaction yet: Alembic begins it, or none where a migration asks for none.
        with engine.connect() as own:
            config.attributes["connection"] = own
            yield config
    except Exception as error:
        if isinstance(error, OperationalError) and isinstance(error.orig, waits.GAVE_UP):
            raise error.orig from error
        if isinstance(error, OperationalError) and _from_outside(error):
            raise InfrastructureError(
                f"PostgreSQL could not go on with the migrations of {service.name}: {error.orig}",
                "see its message and the server's log, then run it again",
            ) from error
        raise MigrationError(
            f"the migrations of {service.name} do not run: {type(error).__name__}: {error}",
            f"fix services/{service.name}/migrations, then run it again",
        ) from error
    finally:
        engine.dispose()


def engine_over(connection: Connection) -> Engine:
    """Return an engine whose one connection is `connection`."""
    connection.autocommit = False
    return create_engine("postgresql+psycopg://", creator=lambda: connection, poolclass=NullPool)


def _from_outside(error: OperationalError) -> bool:
    # Without a state it was no answer of the server: the connection is gone.
    state = getattr(error.orig, "sqlstate", None)
    return state is None or state.startswith(OUTSIDE)


def _alembic(service: Service) -> "Config":
    from alembic.config import Config

    # It would print what it does, where an action's output may have to be JSON.
    options = Namespace(quiet=True)
    return Config(toml_file=service.path / "pyproject.toml", cmd_opts=options)
