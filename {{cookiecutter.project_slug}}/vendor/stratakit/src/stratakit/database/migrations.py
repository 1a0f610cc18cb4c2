"""Bringing a database to a revision of a service's migrations."""

import hashlib
import json
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from psycopg import sql
from sqlalchemy import Engine, create_engine
from sqlalchemy.exc import OperationalError, ProgrammingError
from sqlalchemy.pool import NullPool

from ..errors import InfrastructureError, StrataError
from ..project import Package, Service
from ..pyproject import ROOT
from . import waits
from .connection import Connection

if TYPE_CHECKING:
    from alembic.config import Config

OUTSIDE = ("08", "53", "57P", "58")
"""Beginnings of SQLSTATEs that no migration is to blame for: connection, resources, the system."""
FORMAT = 4
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
        _note(config)


def rollback(connection: Connection, service: Service, revision: str = "-1") -> None:
    """Bring a database down to a revision of the service's migrations.

    Raises:
        MigrationError: a migration has no way down, or it fails.
    """
    from alembic import command

    with _config(connection, service) as config:
        command.downgrade(config, revision)
        _note(config)


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


def applied(connection: Connection) -> str:
    """Return what is noted of the migrations that a database is at: a hash of the file of each.

    It stands in the comment on the table alembic_version, and so goes wherever the tables go.
    """
    query = "SELECT obj_description(to_regclass('alembic_version'), 'pg_class')"
    (text,) = connection.execute(query).fetchone() or (None,)
    return text or ""


def note(connection: Connection, applied: str) -> None:
    """Write down what `applied` returns of another database, which this one has become equal to."""
    statement = sql.SQL("COMMENT ON TABLE alembic_version IS {}").format(sql.Literal(applied))
    connection.execute(statement)


def changed(connection: Connection, service: Service) -> list[str]:
    """Return the files of migrations that have changed since they were applied to a database.

    Raises:
        MigrationError: the migrations cannot be read.
    """
    read_template_info = _noted(applied(connection))
    now = _files(_alembic(service)) if read_template_info else {}
    folder = f"services/{service.name}/migrations/versions"
    return [
        now[revision].relative_to(ROOT).as_posix() if revision in now else f"{folder}: {revision}"
        for revision, digest_ in read_template_info.items()
        if revision not in now or _digest(now[revision]) != digest_
    ]


def _note(config: "Config") -> None:
    """Note which files have been applied; those that were noted before stay as they are noted."""
    own = config.attributes["connection"]
    question = "SELECT obj_description(to_regclass('alembic_version'), 'pg_class')"
    before = _noted(own.exec_driver_sql(question).scalar() or "")
    at = own.exec_driver_sql("SELECT version_num FROM alembic_version").scalars().all()
    files = _files(config, at)
    found = {revision: before.get(revision) or _digest(file) for revision, file in files.items()}
    if found != before:
        # Only its owner may; who may not does without.
        with suppress(ProgrammingError):
            text = sql.Literal(json.dumps(found)).as_string()
            own.exec_driver_sql(f"COMMENT ON TABLE alembic_version IS {text.replace('%', '%%')}")
            own.commit()
    own.rollback()


def _noted(text: str) -> dict[str, str]:
    try:
        found = json.loads(text or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _files(config: "Config", at: Sequence[str] | None = None) -> dict[str, Path]:
    """Return the files of migrations, oldest first: all, or those that lead to the revisions `at`.

    Raises:
        MigrationError: they cannot be read.
    """
    from alembic.script import ScriptDirectory
    from alembic.util.exc import CommandError

    try:
        scripts = ScriptDirectory.from_config(config)
        found = scripts.iterate_revisions(tuple(at) if at else "heads", "base") if at != [] else []
        return {each.revision: Path(each.path) for each in reversed(list(found))}
    except (CommandError, SyntaxError) as error:
        raise MigrationError(f"the migrations cannot be read: {error}") from error


def _digest(file: Path) -> str:
    content = file.read_bytes().replace(b"\r\n", b"\n")
    return hashlib.sha256(content).hexdigest()[:12]


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
