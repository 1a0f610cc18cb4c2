"""The life of the named test databases, one for each service: what `invoke db.*` does.

Each action is as good twice as once, waits for another that is about the same database, and leaves
something that `setup` mends if it is killed.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import errors, sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from sqlalchemy.engine import URL

from .. import names
from ..errors import ConfigurationError, InfrastructureError
from ..graph import Service
from ..servers import Server, binaries
from . import guards, migrations, runs, shapes
from .connection import Connection, Lock, connect, locked, url
from .migrations import MigrationError
from .wiping import State, Wipe

_STAMPED = """
    SELECT datname FROM pg_database JOIN pg_db_role_setting ON setdatabase = pg_database.oid
    WHERE setrole = 0 AND %s = ANY (setconfig)
"""


def drop_stamped(server: Server, purpose: str) -> list[str]:
    """Drop every database that is stamped for `purpose`, whoever uses it; return their names.

    Raises:
        ConfigurationError: one may not be destroyed.
    """
    with connect(server.url) as connection:
        rows = connection.execute(_STAMPED, (f"{guards.STAMP}={purpose}",)).fetchall()
        for (name,) in rows:
            guards.check(guards.inspect(connection, server, name), force=True)
            connection.execute(runs.DROP.format(sql.Identifier(name)))
    return [name for (name,) in rows]


@dataclass(frozen=True, slots=True)
class Database:
    """The database of one service, on a server that is up: for tests, or that of the stack."""

    server: Server
    service: Service
    purpose: str = guards.TEST

    @property
    def name(self) -> str:
        """The name of the database."""
        return f"{names.prefix()}_{self.service.name.replace('-', '_')}_{self.purpose}"

    @property
    def url(self) -> str:
        """Its SQLAlchemy URL, as a service takes it."""
        return url(self.server.url, self.name).render_as_string(hide_password=False)

    def inspect(self) -> guards.Target:
        """Return what is known of it."""
        with connect(self.server.url) as connection:
            return guards.inspect(connection, self.server, self.name)

    def exists(self) -> bool:
        """Say whether it is there."""
        with connect(self.server.url) as connection:
            return self.name in runs.databases(connection)

    def revision(self) -> str | None:
        """Return the migration that it is at; None where it is at none."""
        with connect(self.server.url, self.name) as connection:
            return _revision(connection)

    def create(self) -> bool:
        """Create it, empty and stamped; return whether it was not there."""
        with self._changing() as connection:
            return self._create(connection)

    def drop(self, *, force: bool = False) -> bool:
        """Drop it; return whether it was there.

        Raises:
            ConfigurationError: it may not be destroyed. Nothing was touched.
        """
        with self._changing() as connection:
            return self._drop(connection, force=force)

    def migrate(self, revision: str = "head") -> None:
        """Bring it up to a revision.

        Raises:
            MigrationError: a migration fails. What came before it stays undone as well.
        """
        with self._changing() as connection:
            self._require(connection)
            migrations.migrate(self._alembic_url, self.service, revision)

    def rollback(self, *, force: bool = False) -> bool:
        """Take the newest migration back; return whether there was one.

        Raises:
            ConfigurationError: it may not be destroyed. Nothing was touched.
            MigrationError: a migration has no way down.
        """
        with self._changing() as connection:
            self._require(connection)
            self._check(connection, force=force)
            if self.revision() is None:
                return False
            migrations.rollback(self._alembic_url, self.service)
            return True

    def setup(self) -> None:
        """Make it be there, migrated and seeded."""
        with self._changing() as connection:
            self._create(connection)
            migrations.migrate(self._alembic_url, self.service)
            self._seed()

    def reset(self, *, force: bool = False) -> None:
        """Give it the state of a new `setup`.

        Where its schema is that of the migrations, wiping it back to what they have written does;
        else it becomes a copy of a template that is migrated once.

        Raises:
            ConfigurationError: it may not be destroyed. Nothing was touched.
        """
        with self._changing() as connection:
            target = guards.inspect(connection, self.server, self.name)
            guards.check(target, force=force)
            template = runs.template_over(connection, self.server.url, self.service)
            if target.sessions:
                guards.evict(connection, self.name)
            if not (target.exists and self._wiped(runs.noted(connection, template))):
                self._replace(connection, self.name, template)
            self._seed()

    def seed(self) -> list[str]:
        """Run the service's seeds; return their names."""
        with self._changing() as connection:
            self._require(connection)
            return self._seed()

    def clean(self, *, force: bool = False) -> None:
        """Delete all rows but those that migrations have seeded.

        Raises:
            ConfigurationError: it may not be destroyed, or is at an older revision, whose seeds
                nobody knows. Nothing was touched.
        """
        with self._changing() as connection:
            self._require(connection)
            self._check(connection, force=force)
            with self._migrated() as fresh, connect(self.server.url, self.name) as own:
                at, newest = _revision(own), _revision(fresh)
                if at not in (None, newest):
                    raise ConfigurationError(
                        f"{self.name} is at revision {at}, and only of {newest} is it known what "
                        "migrations have seeded",
                        f"uv run invoke db.migrate --service {self.service.name}",
                    )
                Wipe(own, State.of(fresh))()

    def snapshot(self, label: str) -> str:
        """Keep a copy of it under `label`, in the place of an older one; return the copy's name.

        Raises:
            ConfigurationError: others are connected to it, so that it cannot be copied.
        """
        copy = names.snapshot(self.service.name, label)
        with self._changing() as connection:
            self._require(connection)
            guards.check(guards.inspect(connection, self.server, self.name))
            self._replace(connection, copy, self.name)
        return copy

    def restore(self, label: str, *, force: bool = False) -> None:
        """Give it the state that was kept under `label`.

        Raises:
            ConfigurationError: there is no such copy, or it may not be destroyed.
        """
        copy = names.snapshot(self.service.name, label)
        with self._changing() as connection:
            if copy not in runs.databases(connection):
                raise ConfigurationError(
                    f"there is no snapshot {label!r} of {self.service.name}",
                    f"uv run invoke db.snapshot {label} --service {self.service.name}",
                )
            guards.check(guards.inspect(connection, self.server, self.name), force=force)
            self._replace(connection, self.name, copy)

    def revise(self, message: str) -> Path:
        """Write a migration from what the models have and the migrations have not."""
        with self._migrated() as fresh:
            return migrations.revise(
                url(self.server.url, fresh.info.dbname, "psycopg"), self.service, message
            )

    def psql(self) -> tuple[list[str], dict[str, str]]:
        """Return the command that opens psql on it, and the variables that it needs.

        The password is among these: what a command line says, every user of the machine can read.

        Raises:
            InfrastructureError: psql is not installed.
        """
        found = binaries.postgres()
        program = shutil.which("psql") or (found and shutil.which("psql", path=str(found.folder)))
        if not program:
            raise InfrastructureError("psql is not installed", "uv run invoke setup")
        parts: dict[str, Any] = {**conninfo_to_dict(self.server.url, dbname=self.name)}
        password = parts.pop("password", None)
        variables = {} if password is None else {"PGPASSWORD": str(password)}
        return [program, make_conninfo(**parts)], variables

    @property
    def _alembic_url(self) -> URL:
        return url(self.server.url, self.name, "psycopg")

    @contextmanager
    def _changing(self) -> Iterator[Connection]:
        with connect(self.server.url) as connection, locked(connection, Lock.ACTION, self.name):
            try:
                yield connection
            except errors.InsufficientPrivilege as error:
                raise InfrastructureError(
                    f"the role {connection.info.user} may not change {self.name}: {error}",
                    "use the role that made it, or have a superuser grant what is missing",
                ) from error
            except psycopg.OperationalError as error:
                raise InfrastructureError(
                    f"PostgreSQL could not change {self.name}: {str(error).strip()}",
                    "see its message and the server's log, then run it again",
                ) from error

    @contextmanager
    def _migrated(self) -> Iterator[Connection]:
        """Yield a connection to a database that has the migrations and nothing else."""
        template = runs.template(self.server.url, self.service)
        with runs.run(self.server.url) as identifier:
            name = names.database(identifier, "like")
            runs.clone(self.server.url, template, name)
            with connect(self.server.url, name) as connection:
                yield connection

    def _create(self, connection: Connection) -> bool:
        new = self.name not in runs.databases(connection)
        if new:
            runs.create(connection, self.name)
        target = guards.inspect(connection, self.server, self.name)
        if target.stamp is None and target.contents().tables == 0:
            # New, or left by a run that was killed before it could say what it is.
            guards.stamp(connection, self.name, self.purpose)
        return new

    def _drop(self, connection: Connection, *, force: bool) -> bool:
        target = guards.inspect(connection, self.server, self.name)
        guards.check(target, force=force)
        connection.execute(runs.DROP.format(sql.Identifier(self.name)))
        return target.exists

    def _replace(self, connection: Connection, name: str, source: str) -> None:
        """Put a stamped copy of `source` in the place of the database `name`, which was checked.

        It gets its name last: a run that is killed leaves no copy that cannot say what it is.
        """
        with runs.run(self.server.url) as identifier:
            fresh = names.database(identifier, "new")
            runs.create(connection, fresh, source)
            guards.stamp(connection, fresh)
            connection.execute(runs.DROP.format(sql.Identifier(name)))
            rename = sql.SQL("ALTER DATABASE {} RENAME TO {}")
            connection.execute(rename.format(sql.Identifier(fresh), sql.Identifier(name)))

    def _wiped(self, note: runs.Note) -> bool:
        """Wipe it to the state of a template if it has its schema; return whether that is so."""
        if note.state is None:
            return False
        with connect(self.server.url, self.name) as own:
            same = shapes.matches(own, note.shape)
            if same:
                Wipe(own, note.state)()
            return same

    def _require(self, connection: Connection) -> None:
        if self.name not in runs.databases(connection):
            raise InfrastructureError(
                f"the database {self.name} is not there",
                f"uv run invoke db.setup --service {self.service.name}",
            )

    def _check(self, connection: Connection, *, force: bool) -> None:
        """Refuse to go on if it may not be changed; throw others out if they are in the way."""
        target = guards.inspect(connection, self.server, self.name)
        guards.check(target, force=force)
        if target.sessions:
            guards.evict(connection, self.name)

    def _seed(self) -> list[str]:
        files = self.seeds()
        if not files:
            return []
        with connect(self.server.url, self.name) as connection, connection.transaction():
            for file in files:
                try:
                    connection.execute(file.read_bytes())
                except psycopg.OperationalError:
                    raise
                except psycopg.Error as error:
                    raise MigrationError(
                        f"the seeds of {self.service.name} do not run: {file.name}: {error}",
                        f"mend services/{self.service.name}/seeds/{file.name}, then run it again",
                    ) from error
        return [file.name for file in files]

    def seeds(self) -> list[Path]:
        """Return the SQL files that fill it, in order. Each has to be as good twice as once."""
        return sorted((self.service.path / "seeds").glob("*.sql"))


def _revision(connection: Connection) -> str | None:
    there = connection.execute("SELECT to_regclass('alembic_version')").fetchone()
    if there == (None,):
        return None
    row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return row[0] if row else None
