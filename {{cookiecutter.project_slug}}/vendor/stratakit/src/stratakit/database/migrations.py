"""Alembic migrations of a service's databases, with a record of the files that were applied."""

import hashlib
import json
import shutil
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql

from .. import programs
from ..errors import StrataError
from ..project import Package, Service
from ..pyproject import ROOT
from .connection import GAVE_UP, Connection
from .position import Position
from .server_errors import origin, raise_if_server_error

if TYPE_CHECKING:
    from alembic.config import Config
    from alembic.script import ScriptDirectory
    from sqlalchemy import Engine

FORMAT = 5
"""Part of a template's name; increase it when templates are built differently."""
WRITE = 'uv run invoke db.revision --message "say what changes"'
"""Command that writes a missing migration."""


class MigrationError(StrataError):
    """Failure of a migration: the code under test is at fault, not the infrastructure."""


def migrate(connection: Connection, service: Service, revision: str = "head") -> None:
    """Upgrade a database to a revision of the service's migrations, and record their files.

    Raises:
        MigrationError: a migration fails, or there is not exactly one head.
        psycopg.errors.LockNotAvailable: another session blocks, see `connection.session`.
    """
    _run("upgrade", connection, service, revision)


def rollback(connection: Connection, service: Service, revision: str | None = None) -> None:
    """Downgrade a database to a revision of the service's migrations, or by the latest migration.

    Raises:
        MigrationError: a migration has no downgrade, or it fails.
    """
    _run("downgrade", connection, service, revision)


def _run(command: str, connection: Connection, service: Service, revision: str | None) -> None:
    # Imported lazily, since it is rarely needed: Alembic takes 0.3 s.
    import alembic.command

    at = position(service, connection.info.dbname, revisions(connection))
    if at.blocked:
        raise MigrationError(*at.blocked)
    with _config(connection, service) as config:
        getattr(alembic.command, command)(config, revision or at.before_latest)
        _note_files(connection, config)


def merge(service: Service, message: str) -> Path | None:
    """Add a migration that joins all heads; return its file, or None if there is one head.

    Raises:
        MigrationError: the migrations cannot be read.
    """
    from alembic import command

    if not position(service, "", ()).fork:
        return None
    script = command.merge(configuration(service), "heads", message=message)
    return None if script is None else Path(script.path)


def add(
    connection: Connection, service: Service, message: str, fill: Callable[..., None] | None = None
) -> Path | None:
    """Add a migration.

    Args:
        connection: a connection to a database with all other migrations applied.
        service: the service that it belongs to.
        message: a short description.
        fill: a callback that fills in its operations: Alembic's `process_revision_directives`.

    Returns:
        Its file; None if `fill` has removed all directives.

    Raises:
        MigrationError: the models and the migrations cannot be compared.
    """
    from alembic import command

    with _config(connection, service) as config:
        script = command.revision(
            config, message, autogenerate=fill is not None, process_revision_directives=fill
        )
    return None if script is None or isinstance(script, list) else Path(script.path)


def format_file(file: Path) -> None:
    """Format a file as commits require, if the formatter is installed."""
    ruff = shutil.which("ruff", path=str(Path(sys.executable).parent)) or shutil.which("ruff")
    for command in (("check", "--fix"), ("format",)) if ruff else ():
        programs.run((str(ruff), *command, "--quiet", str(file)), cwd=ROOT)


def position(service: Service, database: str, present: Sequence[str]) -> Position:
    """Return the position of a database that is at the revisions `present`.

    Raises:
        MigrationError: the migration files cannot be read.
    """
    with _scripts(service, f"the migrations of {service.name} cannot be read: ") as scripts:
        found = Position(service, database, tuple(present), scripts)
        # Read inside the block, which translates the errors.
        _ = found.heads
        return found


def revisions(connection: Connection) -> list[str]:
    """Return the revisions that a database is at: none, or one for each branch."""
    there = connection.execute("SELECT to_regclass('alembic_version')").fetchone()
    if there == (None,):
        return []
    rows = connection.execute("SELECT version_num FROM alembic_version ORDER BY 1").fetchall()
    return [revision for (revision,) in rows]


def digest(package: Package) -> str:
    """Return a hash of everything that determines the contents of a migrated database.

    It is the same for all libraries, which have no migrations: their database is empty.
    """
    content = hashlib.sha256(f"{FORMAT}".encode())
    own = (package.path / "migrations").rglob("*.py") if isinstance(package, Service) else ()
    for file in sorted(own):
        content.update(str(file.relative_to(package.path)).encode() + b"\0" + file.read_bytes())
    return content.hexdigest()


def applied(connection: Connection) -> dict[str, str]:
    """Return the recorded hash of each migration file that was applied to a database.

    The record is the comment on the table alembic_version, so it goes wherever the tables go.
    """
    query = "SELECT obj_description(to_regclass('alembic_version'), 'pg_class')"
    (text,) = connection.execute(query).fetchone() or (None,)
    try:
        found = json.loads(text or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def note(connection: Connection, files: Mapping[str, str]) -> None:
    """Record what `applied` returned for another database that this one is now equal to."""
    comment = sql.Literal(json.dumps(files))
    connection.execute(sql.SQL("COMMENT ON TABLE alembic_version IS {}").format(comment))


def changed(connection: Connection, service: Service) -> list[str]:
    """Return the migration files that have changed since they were applied to a database.

    Raises:
        MigrationError: the migrations cannot be read.
    """
    before = applied(connection)
    if not before:
        return []
    if position(service, "", revisions(connection)).unknown:
        # It is at a migration of another branch, so others may be missing here without a change.
        return []
    with _scripts(service, f"the migrations of {service.name} cannot be read: ") as scripts:
        now = _files(scripts, "heads")
    folder = f"services/{service.name}/migrations/versions"
    return [
        now[revision].relative_to(ROOT).as_posix() if revision in now else f"{folder}: {revision}"
        for revision, noted in before.items()
        if revision not in now or _digest(now[revision]) != noted
    ]


def _note_files(connection: Connection, config: "Config") -> None:
    """Record which files have been applied; existing records stay unchanged."""
    from alembic.script import ScriptDirectory

    before, at = applied(connection), tuple(revisions(connection))
    files = _files(ScriptDirectory.from_config(config), at) if at else {}
    found = {revision: before.get(revision) or _digest(file) for revision, file in files.items()}
    if found != before:
        # Only the table's owner may write the record; other roles go without.
        with suppress(psycopg.ProgrammingError):
            note(connection, found)
            connection.commit()
    connection.rollback()


@contextmanager
def _scripts(service: Service, problem: str) -> Iterator["ScriptDirectory"]:
    """Yield a service's migration scripts, to be read in the block.

    Raises:
        MigrationError: the block fails to read them; its message begins with `problem`.
    """
    from alembic.script import ScriptDirectory
    from alembic.util.exc import CommandError

    try:
        yield ScriptDirectory.from_config(configuration(service))
    except (CommandError, SyntaxError, KeyError) as error:
        # If a revision that others follow is missing, Alembic's error is only its name.
        missing = f"there is no {error}" if isinstance(error, KeyError) else error
        raise MigrationError(
            f"{problem}{missing}", f"fix services/{service.name}/migrations"
        ) from error


def _files(scripts: "ScriptDirectory", at: str | tuple[str, ...]) -> dict[str, Path]:
    """Return the files of the migrations that lead to the revisions `at`, oldest first."""
    found = list(scripts.iterate_revisions(at, "base"))
    return {each.revision: Path(each.path) for each in reversed(found)}


def _digest(file: Path) -> str:
    content = file.read_bytes().replace(b"\r\n", b"\n")
    return hashlib.sha256(content).hexdigest()[:12]


@contextmanager
def _config(connection: Connection, service: Service) -> Iterator["Config"]:
    """Yield Alembic's configuration for a service, with a connection to the database.

    SQLAlchemy takes it over and closes it. It opens none of its own, which would be unchecked.
    """
    engine = engine_over(connection)
    config = configuration(service)
    try:
        # Not in a transaction yet: Alembic begins one, unless a migration asks for none.
        with engine.connect() as own:
            config.attributes["connection"] = own
            yield config
    except Exception as error:
        cause = origin(error)
        if isinstance(cause, GAVE_UP):
            raise cause from error
        raise_if_server_error(error, f"the migrations of {service.name}")
        raise MigrationError(
            f"the migrations of {service.name} do not run: {type(error).__name__}: {error}",
            f"fix services/{service.name}/migrations, then run it again",
        ) from error
    finally:
        engine.dispose()


def engine_over(connection: Connection) -> "Engine":
    """Return an engine whose one connection is `connection`."""
    # Imported lazily: few actions need it, and importing it takes longer than they do.
    from sqlalchemy import NullPool, create_engine

    connection.autocommit = False
    return create_engine("postgresql+psycopg://", creator=lambda: connection, poolclass=NullPool)


def configuration(service: Service, **options: Any) -> "Config":
    """Return Alembic's configuration for a service; the options are passed to its `Config`."""
    from alembic.config import Config

    # Alembic would print its progress, but an action's output may have to be JSON.
    quiet = Namespace(quiet=True)
    return Config(toml_file=service.path / "pyproject.toml", cmd_opts=quiet, **options)
