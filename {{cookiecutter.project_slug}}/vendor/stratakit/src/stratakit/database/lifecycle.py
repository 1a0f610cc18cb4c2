"""Lifecycle of each service's `dev` and `test` databases: creation, migration, reset and drop.

Implements `invoke db.*`. Each action can be repeated, waits for other actions on the same database,
and leaves a state that `setup` repairs if it is killed.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import errors, sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from .. import names
from ..errors import ConfigurationError, InfrastructureError
from ..project import Service
from ..schema import fingerprint
from ..servers import Server, binaries, checkout, libpq
from . import guards, migrations, runs, stamps
from .cleaning import Cleaner, State
from .connection import GAVE_UP, Connection, Lock, connect, locked, session, url
from .migrations import MigrationError
from .position import Position
from .relations import CleaningError
from .server_errors import raise_if_server_error, writable

if TYPE_CHECKING:
    from ..schema.autogenerate import Written


@dataclass(frozen=True, slots=True)
class Database:
    """The `dev` or `test` database of a service, on a running server."""

    server: Server
    service: Service
    purpose: str = stamps.TEST

    @property
    def name(self) -> str:
        """Name of the database."""
        return names.named(self.service.name, self.purpose, checkout.mark())

    @property
    def owner(self) -> str:
        """Owner that is written on it: services of two projects may use the same database name."""
        return names.owner(self.service.name, checkout.mark())

    @property
    def url(self) -> str:
        """SQLAlchemy URL, in the form that a service expects."""
        return url(self.server.url, self.name).render_as_string(hide_password=False)

    def inspect(self, label: str | None = None) -> guards.DatabaseInfo:
        """Return the facts about it, or about its snapshot with a label."""
        with connect(self.server.url) as connection:
            return self._inspect(connection, label and self.copy_name(label))

    @contextmanager
    def unchanged(self) -> Iterator[guards.DatabaseInfo]:
        """Yield the facts about it, while no other action changes or drops it.

        Raises:
            InfrastructureError: another action holds its lock for too long.
        """
        with session(self.server.url) as connection, locked(connection, Lock.ACTION, self.name):
            yield self._inspect(connection)

    def refuse_foreign(self) -> None:
        """Raise an error if it belongs to somebody else; it need not exist.

        Raises:
            ConfigurationError: it belongs to another service, or to another project.
        """
        guards.check(self.inspect(), rules=(guards.FOREIGN,))

    def exists(self) -> bool:
        """Return whether it exists."""
        with connect(self.server.url) as connection:
            return self.name in runs.databases(connection)

    def revision(self) -> str | None:
        """Return the migration that it is at; None if it is at none."""
        with session(self.server.url, self.name) as connection:
            return _revision(connection)

    def position(self) -> Position:
        """Return its position among the migrations of its service; it need not exist."""
        if not self.exists():
            return migrations.position(self.service, self.name, ())
        with session(self.server.url, self.name) as connection:
            return self._position(connection)

    def _position(self, connection: Connection) -> Position:
        return migrations.position(self.service, self.name, migrations.revisions(connection))

    def changed(self) -> list[str]:
        """Return the migration files that have changed since they were applied to it."""
        with connect(self.server.url, self.name) as connection:
            return migrations.changed(connection, self.service)

    def create(self) -> bool:
        """Create it, empty and stamped; return whether it is new.

        Raises:
            ConfigurationError: the existing one may not be used. Nothing was touched.
        """
        with self._changing() as (connection, target):
            self._created(connection, target)
            return not target.exists

    def drop(self, *, force: bool = False) -> bool:
        """Drop it; return whether it existed.

        Raises:
            ConfigurationError: it may not be destroyed. Nothing was touched.
        """
        with self._changing(guards.DESTROYING, force=force) as (connection, target):
            guards.drop(connection, target)
            return target.exists

    def migrate(self) -> None:
        """Apply all pending migrations.

        Raises:
            ConfigurationError: it may not be used. Nothing was touched.
            MigrationError: a migration fails. The ones before it are rolled back as well.
        """
        with self._changing(there=True) as (connection, target):
            self._migrate(connection, target)

    def rollback(self, *, force: bool = False) -> bool:
        """Revert the latest migration; return whether there was one.

        Raises:
            ConfigurationError: it may not be destroyed. Nothing was touched.
            MigrationError: a migration has no downgrade.
        """
        with self._changing(guards.DESTROYING, force=force, there=True) as (connection, target):
            if target.sessions:
                guards.terminate_sessions(connection, self.name)
            with self._opened(connection, target, guards.DESTROYING) as own:
                if _revision(own) is None:
                    return False
                migrations.rollback(own, self.service)
            return True

    def setup(self) -> None:
        """Create and migrate it, and seed it if it is `dev`; existing data is kept.

        Raises:
            ConfigurationError: the existing one may not be used. Nothing was touched.
            MigrationError: a migration or a seed fails.
        """
        with self._changing() as (connection, found):
            target = self._created(connection, found)
            self._migrate(connection, target)
            if self.purpose == stamps.DEV:
                self._seed(connection, target)

    def reset(self, *, force: bool = False) -> None:
        """Recreate it as `setup` makes it.

        If its schema matches the migrations, only its rows are cleaned; otherwise it is replaced by
        a copy of the migrated template.

        Raises:
            ConfigurationError: it may not be destroyed. Nothing was touched.
        """
        with self._changing(guards.DESTROYING, force=force) as (connection, target):
            template = runs.get_or_build_template(connection, self.service)
            if target.sessions:
                guards.terminate_sessions(connection, self.name)
            if not (target.exists and self._wiped(connection, target, template)):
                self._replace(connection, target, template)
            if self.purpose == stamps.DEV:
                self._seed(connection, guards.refreshed(connection, target))

    def seed(self) -> list[str]:
        """Run the service's seeds; return their names.

        Raises:
            ConfigurationError: it may not be used. Nothing was touched.
            MigrationError: one fails.
        """
        with self._changing(there=True) as (connection, target):
            return self._seed(connection, target)

    def clean(self, *, force: bool = False) -> None:
        """Delete all rows except those inserted by migrations.

        Raises:
            ConfigurationError: it may not be destroyed, or is at an older revision, whose seeds
                are unknown. Nothing was touched.
        """
        with self._changing(guards.DESTROYING, force=force, there=True) as (connection, target):
            if target.sessions:
                guards.terminate_sessions(connection, self.name)
            # Checked before anything is created, and closed again so as not to block others.
            with self._opened(connection, target):
                pass
            with (
                runs.migrated(connection, self.service) as fresh,
                self._opened(connection, target, guards.DESTROYING) as own,
            ):
                position = self._position(own)
                if position.blocked:
                    raise MigrationError(*position.blocked)
                if position.problem and position.present:
                    raise ConfigurationError(
                        f"{position.problem[0]}, and rows seeded by migrations are known only for"
                        " the newest revision",
                        f"uv run invoke db.migrate {self._which}",
                    )
                Cleaner(own, State.of(fresh))()

    def snapshot(self, label: str) -> str:
        """Keep a copy of it under `label`, replacing an older one; return the copy's name.

        Raises:
            ConfigurationError: it cannot be copied, since others are connected to it; or the older
                copy may not be destroyed. Nothing was touched.
        """
        copy = self.copy_name(label)
        with self._changing(force=False, there=True) as (connection, _):
            older = self._inspect(connection, copy)
            guards.check(older, force=True, rules=guards.DESTROYING)
            self._replace(connection, older, self.name, label)
        return copy

    def snapshots(self) -> list[stamps.Snapshot]:
        """Return its snapshots, sorted by label."""
        with connect(self.server.url) as connection:
            every = stamps.snapshots(connection)
        return [each for each in every if each.name == self.copy_name(each.label)]

    def discard(self, label: str) -> None:
        """Drop the snapshot `label`.

        Raises:
            ConfigurationError: there is no such snapshot, or it may not be destroyed.
        """
        with self._changing() as (connection, _):
            copy = self._inspect(connection, self._kept(connection, label))
            guards.check(copy, force=True, rules=guards.DESTROYING)
            guards.drop(connection, copy)

    def has_snapshot(self, label: str) -> bool:
        """Return whether it has a snapshot `label`."""
        with connect(self.server.url) as connection:
            return self.copy_name(label) in runs.databases(connection)

    def copy_name(self, label: str) -> str:
        """Return the database name of its snapshot `label`, whether that exists or not."""
        # Unchanged from before there were other purposes and checkouts.
        first = self.purpose == stamps.TEST and not checkout.mark()
        return names.snapshot(self.service.name if first else self.name, label)

    def restore(self, label: str, *, force: bool = False) -> None:
        """Restore the snapshot `label`.

        Raises:
            ConfigurationError: there is no such snapshot, or the database may not be destroyed.
        """
        with self._changing(guards.DESTROYING, force=force) as (connection, target):
            self._replace(connection, target, self._kept(connection, label))

    def _kept(self, connection: Connection, label: str) -> str:
        """Return the database name of the snapshot `label`; raise an error if there is none."""
        copy = self.copy_name(label)
        if copy not in runs.databases(connection):
            raise ConfigurationError(
                f"there is no snapshot {label!r} of {self.name}",
                f"uv run invoke db.snapshots --service {self.service.name}, which lists them",
            )
        return copy

    @contextmanager
    def lent(
        self, tell: Callable[[str], object], check: Callable[[Connection], object]
    ) -> Iterator[None]:
        """Lend it to a test run: migrated, and with no rows except those inserted by migrations.

        Args:
            tell: called with a message before the database is emptied.
            check: called with a connection to it once it is migrated.

        Raises:
            ConfigurationError: it may not be emptied. Nothing was touched.
            InfrastructureError: it does not exist, or is in use.
            MigrationError: a migration fails, or has no downgrade.
        """
        with connect(self.server.url) as holder, locked(holder, Lock.ACTION, self.name):
            # Closed before the yield: a session has a thread, and tests may fork.
            with session(self.server.url) as connection, self._told(connection):
                self._lend(connection, tell, check)
            yield

    def _lend(
        self,
        connection: Connection,
        tell: Callable[[str], object],
        check: Callable[[Connection], object],
    ) -> None:
        who, target = connection.info.user, self._inspect(connection)
        if not target.exists:
            raise InfrastructureError(
                f"the role {who} may not create databases, which tests need, and {self.name} is not"
                " there to be used instead",
                f'as a superuser: ALTER ROLE "{who}" CREATEDB,'
                f' or: CREATE DATABASE "{self.name}" OWNER "{who}"',
            )
        guards.check(target, force=True, rules=guards.DESTROYING)
        if target.sessions:
            raise InfrastructureError(
                f"{self.name} is in use, so that no test run takes it: "
                + "; ".join(target.sessions),
                "close what is connected to it, then run it again",
            )
        tell(f"the role {who} may not create databases: this run takes, and empties, {target}")
        target = self._created(connection, target)
        with self._opened(connection, target, guards.DESTROYING) as own:
            migrations.rollback(own, self.service, "base")
        self._migrate(connection, target)
        with self._opened(connection, target, guards.DESTROYING) as own:
            check(own)

    def autogenerate(self, message: str, *, drop: bool = False) -> "Written":
        """Autogenerate a migration from model changes; with `drop`, drop what no model has.

        Raises:
            MigrationError: the models and the migrations cannot be compared.
        """
        # Imported lazily: Alembic takes 0.3 s.
        from ..schema import autogenerate

        return autogenerate.write(self.server.url, self.service, message, drop=drop)

    def merge(self, message: str) -> "Written":
        """Write a migration that joins the heads of its service; it has none if there is one head.

        Raises:
            MigrationError: the migrations cannot be read.
        """
        from ..schema import autogenerate

        return autogenerate.merge(self.service, message)

    def psql(self) -> tuple[list[str], dict[str, str]]:
        """Return the command that opens psql on it, and its environment variables.

        The password is one of these: every user of the machine can read a command line.

        Raises:
            InfrastructureError: psql is not installed.
        """
        program = binaries.client("psql")
        if not program:
            raise InfrastructureError("psql is not installed", "uv run invoke setup")
        parts: dict[str, Any] = {
            **conninfo_to_dict(libpq.bounded(self.server.url, dbname=self.name))
        }
        password = parts.pop("password", None)
        variables = {} if password is None else {"PGPASSWORD": str(password)}
        return [program, make_conninfo(**parts)], variables

    @property
    def _which(self) -> str:
        """Options that select this database in an action."""
        return f"--service {self.service.name} --database {self.purpose}"

    @contextmanager
    def _changing(
        self,
        rules: Sequence[guards.Rule] = guards.RULES,
        *,
        force: bool = True,
        there: bool = False,
    ) -> Iterator[tuple[Connection, guards.DatabaseInfo]]:
        """Yield a connection to the server, for one action at a time, and the facts about it.

        The facts are checked over this connection. To change its contents, use `_opened`.

        Args:
            rules: the rules that it must not break.
            force: whether others may be connected to it.
            there: whether it has to exist.
        """
        with (
            session(self.server.url) as connection,
            locked(connection, Lock.ACTION, self.name),
            self._told(connection),
        ):
            target = self._inspect(connection)
            if there and not target.exists:
                raise InfrastructureError(
                    f"the database {self.name} is not there",
                    f"uv run invoke db.setup {self._which}",
                )
            guards.check(target, force=force, rules=rules)
            yield connection, target

    @contextmanager
    def _told(self, connection: Connection) -> Iterator[None]:
        """Translate the errors with which PostgreSQL refuses an action."""
        try:
            with writable():
                yield
        except errors.InsufficientPrivilege as error:
            raise InfrastructureError(
                f"the role {connection.info.user} may not change {self.name}: {error}",
                "use the role that made it, or have a superuser grant what is missing",
            ) from error
        except errors.WrongObjectType as error:
            raise InfrastructureError(
                f"{self.name} is a template, which PostgreSQL does not drop",
                f'if nothing is copied from it: ALTER DATABASE "{self.name}" IS_TEMPLATE false',
            ) from error
        except GAVE_UP:
            raise
        except psycopg.OperationalError as error:
            raise InfrastructureError(
                f"PostgreSQL could not change {self.name}: {str(error).strip()}",
                "see its message and the server's log, then run it again",
            ) from error

    def _inspect(self, connection: Connection, name: str | None = None) -> guards.DatabaseInfo:
        name = name or self.name
        return guards.inspect(connection, self.server, name, self.purpose, self.owner)

    @contextmanager
    def _opened(
        self,
        connection: Connection,
        target: guards.DatabaseInfo,
        rules: Sequence[guards.Rule] = guards.RULES,
    ) -> Iterator[Connection]:
        with guards.opened(connection, target, rules) as own:
            if target.facts.owner is None and target.facts.stamped(self.purpose):
                # A role that may not write the owner can still use the database.
                with suppress(errors.InsufficientPrivilege):
                    stamps.write(own, self.name, self.purpose, self.owner)
            yield own

    def _created(self, connection: Connection, target: guards.DatabaseInfo) -> guards.DatabaseInfo:
        """Create and stamp it if necessary; return the facts about it afterwards."""
        if not target.exists:
            runs.create(connection, self.name, purpose=self.purpose)
            target = guards.refreshed(connection, target)
        # New, or left unstamped by a run that was killed.
        if not (target.facts.stamp or target.contents().held):
            stamps.write(connection, self.name, self.purpose, self.owner)
            target = guards.refreshed(connection, target)
        return target

    def _migrate(self, connection: Connection, target: guards.DatabaseInfo) -> None:
        with self._opened(connection, target) as own:
            migrations.migrate(own, self.service)

    def _replace(
        self,
        connection: Connection,
        target: guards.DatabaseInfo,
        source: str,
        label: str | None = None,
    ) -> None:
        """Replace a checked database with a stamped copy of `source`, labelled `label` if given.

        It gets its name last: a run that is killed leaves no unstamped copy.
        """
        with runs.run_over(connection) as identifier:
            fresh = names.database(identifier, "new")
            runs.create(connection, fresh, source, self.purpose)
            stamps.write(connection, fresh, self.purpose, self.owner)
            if label is not None:
                stamps.label(connection, fresh, label)
            guards.drop(connection, target)
            rename = sql.SQL("ALTER DATABASE {} RENAME TO {}")
            connection.execute(rename.format(sql.Identifier(fresh), sql.Identifier(target.name)))

    def _wiped(self, connection: Connection, target: guards.DatabaseInfo, template: str) -> bool:
        """Reset it to the state of a template if it has its schema; return whether it was reset."""
        info = runs.read_template_info(connection, template)
        if info.state is None:
            return False
        # If it cannot be cleaned, the caller recreates it.
        with (
            self._opened(connection, target, guards.DESTROYING) as own,
            suppress(CleaningError),
        ):
            if fingerprint.has_signature(own, info.shape):
                Cleaner(own, info.state)()
                if migrations.applied(own) != info.applied:
                    migrations.note(own, info.applied)
                return True
        return False

    def _seed(self, connection: Connection, target: guards.DatabaseInfo) -> list[str]:
        """Run the service's SQL files in order; each has to be idempotent."""
        files = sorted((self.service.path / "seeds").glob("*.sql"))
        if not files:
            return []
        with self._opened(connection, target) as own, own.transaction():
            for file in files:
                try:
                    own.execute(file.read_bytes())
                except psycopg.OperationalError:
                    raise
                except psycopg.Error as error:
                    raise_if_server_error(error, f"the seeds of {self.service.name}")
                    raise MigrationError(
                        f"the seeds of {self.service.name} do not run: {file.name}: {error}",
                        f"fix services/{self.service.name}/seeds/{file.name}, then run it again",
                    ) from error
        return [file.name for file in files]


def _revision(connection: Connection) -> str | None:
    return next(iter(migrations.revisions(connection)), None)
