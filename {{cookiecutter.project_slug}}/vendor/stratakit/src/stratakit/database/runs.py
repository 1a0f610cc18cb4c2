"""Databases of test runs: a migrated template, and clones of it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta

import psycopg
from psycopg import errors, sql

from .. import names
from ..errors import ConfigurationError, InfrastructureError, StrataError
from ..project import Package, Service
from ..schema import fingerprint
from . import guards, migrations, stamps
from .cleaning import State
from .connection import (
    Connection,
    Lock,
    beside,
    connect,
    exclusive,
    locked,
    locked_if_free,
    session,
)
from .server_errors import writable

KEPT_TEMPLATES, KEPT_DAYS = 3, 14
"""Number of templates to keep at any age, and days to keep the others after their last use."""
LEFT = (errors.InsufficientPrivilege, errors.LockNotAvailable, StrataError)
"""Errors that leave a leftover in place: it is another role's, in use, or not stamped for tests."""
_MAY_CREATE = """
    SELECT rolcreatedb OR rolsuper, pg_get_userbyid(datdba)
    FROM pg_database, pg_roles WHERE datname = %s AND rolname = current_user
"""
LARGE = 256 * 1024
"""Characters above which a state is too large to store on a template, which every run reads."""


@dataclass(frozen=True, slots=True)
class TemplateInfo:
    """Facts about a template, stored in the comment on its database."""

    used: str = ""
    """Day of its last use, for `prune`."""
    shape: str = ""
    """Signature of its schema and revision."""
    applied: dict[str, str] = field(default_factory=dict)
    """Record of its migrations, see `migrations.applied`."""
    state: State | None = None
    """State that its migrations have created; None if it is too large."""


@contextmanager
def run(server: str) -> Iterator[str]:
    """Open a test run on a server: yield its identifier, and drop its databases afterwards.

    Databases of runs that died before they could do so are dropped first.
    """
    with connect(server) as connection, run_over(connection) as identifier:
        yield identifier


@contextmanager
def run_over(connection: Connection) -> Iterator[str]:
    """Open a test run like `run`, over a connection to the server."""
    sweep(connection)
    identifier = names.new_run()
    with locked(connection, Lock.RUN, identifier):
        try:
            yield identifier
        finally:
            # If the server has gone away, the next run cleans up.
            with suppress(psycopg.OperationalError):
                for name in databases(connection):
                    if names.run_of(name) == identifier:
                        drop(connection, name)


def sweep(connection: Connection) -> list[str]:
    """Drop the databases of dead runs; return their names."""
    owners = {name: names.run_of(name) for name in databases(connection)}
    return _drop_unused(
        connection, Lock.RUN, {name: run for name, run in owners.items() if run is not None}
    )


def prune(server: str) -> list[str]:
    """Drop leftovers of dead runs and long unused templates; return their names."""
    with session(server) as connection:
        dropped = sweep(connection)
        # Kept for inspection, which has been done by now or never will be.
        kept = [name for name in databases(connection) if names.is_kept(name)]
        return dropped + _discard(connection, kept + _stale_templates(connection))


def _discard(connection: Connection, candidates: list[str]) -> list[str]:
    # The lock excludes templates being built, and those that another process is pruning.
    return _drop_unused(connection, Lock.BUILD, {name: name for name in candidates})


def _drop_unused(connection: Connection, kind: Lock, candidates: dict[str, str]) -> list[str]:
    """Drop the candidates, mapped to the subjects of their locks, whose locks are free."""
    dropped = []
    for name, what in candidates.items():
        with locked_if_free(connection, kind, what) as free, suppress(*LEFT):
            if free and name in databases(connection):
                drop(connection, name)
                dropped.append(name)
    return dropped


def template(server: str, package: Package) -> str:
    """Return the name of a ready template with the package's migrations, built if necessary.

    Raises:
        MigrationError: a migration fails.
        InfrastructureError: the server does not answer, or the role may not create databases.
    """
    with session(server) as connection:
        return get_or_build_template(connection, package)


def finished_template(server: str, package: Package) -> str | None:
    """Return what `template` returns, or None if it would have to be built first.

    Raises:
        InfrastructureError: the server does not answer.
    """
    with connect(server) as connection:
        name = _template_name(connection, package)
        return name if is_ready(connection, name) else None


def get_or_build_template(connection: Connection, package: Package) -> str:
    """Return what `template` returns, over a connection to the server."""
    name = _template_name(connection, package)
    if not is_ready(connection, name):
        _build(connection, package, name)
        # Each change of a migration leaves a template behind; without this, they would pile up.
        _discard(connection, _stale_templates(connection))
    elif (note := read_template_info(connection, name)).used != _today():
        _note(connection, name, replace(note, used=_today()))
    return name


def _template_name(connection: Connection, package: Package) -> str:
    return names.template(migrations.digest(package), connection.info.user)


@contextmanager
def migrated(connection: Connection, service: Service) -> Iterator[Connection]:
    """Yield a connection to a temporary database that has the migrations and nothing else.

    Raises:
        MigrationError: a migration fails.
        InfrastructureError: the role may not create databases.
    """
    source = get_or_build_template(connection, service)
    with run_over(connection) as identifier:
        name = names.database(identifier, "like")
        create(connection, name, source)
        with beside(connection, name) as own:
            yield own


def read_template_info(connection: Connection, name: str) -> TemplateInfo:
    """Return the facts stored on a template; empty for one that is half-built."""
    query = "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s"
    (comment,) = connection.execute(query, (name,)).fetchone() or (None,)
    try:
        found = json.loads(comment or "{}")
        state = found.pop("state", None)
        return TemplateInfo(**found, state=State(**state) if state else None)
    except (AttributeError, TypeError, ValueError):
        return TemplateInfo()


def _stale_templates(connection: Connection) -> list[str]:
    """Return the templates that are not among the most recent and have long been unused."""
    limit = (datetime.now(UTC) - timedelta(days=KEPT_DAYS)).date().isoformat()
    used = {
        name: read_template_info(connection, name).used
        for name in databases(connection)
        if names.is_template(name)
    }
    newest_first = sorted(used, key=lambda name: used[name], reverse=True)
    return [name for name in newest_first[KEPT_TEMPLATES:] if used[name] < limit]


def _note(connection: Connection, name: str, note: TemplateInfo) -> None:
    statement = sql.SQL("COMMENT ON DATABASE {} IS {}")
    comment = sql.Literal(json.dumps(asdict(note)))
    with writable():
        connection.execute(statement.format(sql.Identifier(name), comment))


def _today() -> str:
    return datetime.now(UTC).date().isoformat()


def _build(connection: Connection, package: Package, name: str) -> None:
    # Not the lock of a run: waiting processes would wait for each other's whole runs.
    with locked(connection, Lock.BUILD, name):
        if is_ready(connection, name):
            return
        # A run that was killed may have left it half-built.
        drop(connection, name)
        create(connection, name)
        if isinstance(package, Service):
            with beside(connection, name) as own:
                migrations.migrate(own, package)
        with beside(connection, name) as own:
            shape, applied, state = (
                fingerprint.signature(own),
                migrations.applied(own),
                State.of(own),
            )
        large = sum(map(len, state.rows.values())) > LARGE
        _note(connection, name, TemplateInfo(_today(), shape, applied, None if large else state))
        statement = "ALTER DATABASE {} WITH ALLOW_CONNECTIONS false IS_TEMPLATE true"
        with writable():
            connection.execute(sql.SQL(statement).format(sql.Identifier(name)))


def is_ready(connection: Connection, name: str) -> bool:
    """Return whether a template is complete: its build ends by closing it to connections."""
    query = "SELECT datistemplate AND NOT datallowconn FROM pg_database WHERE datname = %s"
    return connection.execute(query, (name,)).fetchone() == (True,)


def clone(server: str, source: str, name: str) -> None:
    """Create the database `name` as a copy of the template `source`."""
    with session(server) as connection:
        create(connection, name, source)


def create(
    connection: Connection, name: str, source: str = "template0", purpose: str = stamps.TEST
) -> None:
    """Create a database as a copy of another one.

    Raises:
        ConfigurationError: the server or the role is stamped for something else.
        InfrastructureError: the role may not create databases, or others use `source`.
    """
    _refuse_marked(connection, "create", name, purpose)
    fsync = connection.execute("SHOW fsync").fetchone()
    # Copying files is faster than logging pages, but forces two checkpoints if fsync is on.
    strategy = "FILE_COPY" if fsync == ("off",) and source != "template0" else "WAL_LOG"
    statement = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY {}").format(
        sql.Identifier(name), sql.Identifier(source), sql.SQL(strategy)
    )
    try:
        with exclusive(connection, source), writable():
            connection.execute(statement)
    except errors.InsufficientPrivilege as error:
        who = connection.info.user
        may, owner = connection.execute(_MAY_CREATE, (source,)).fetchone() or (False, "")
        if may:
            raise InfrastructureError(
                f"the role {who} may not copy the database {source}, since {owner} owns it",
                f"use the role {owner}; or, as a superuser:"
                f' ALTER DATABASE "{source}" OWNER TO "{who}"',
            ) from error
        raise InfrastructureError(
            f"the role {who} may not create databases, which tests need",
            f'as a superuser: ALTER ROLE "{who}" CREATEDB',
        ) from error


def drop(connection: Connection, name: str) -> None:
    """Drop a database that is ours by its name, if it exists.

    Raises:
        ConfigurationError: the name is not one of ours, or the database is stamped for something
            other than tests. Nothing was touched.
    """
    if not names.is_ours(name):
        raise ConfigurationError(
            f"refused to drop the database {name!r}: its name was not made by this project",
            "name a database that this project has made",
        )
    _refuse_marked(connection, "drop", name)
    target = sql.Identifier(name)
    query = "SELECT datistemplate FROM pg_database WHERE datname = %s"
    # After an interrupted drop, a database can be dropped again but not altered.
    if connection.execute(query, (name,)).fetchone() == (True,):
        with suppress(errors.InvalidCatalogName), writable():
            connection.execute(sql.SQL("ALTER DATABASE {} IS_TEMPLATE false").format(target))
    with exclusive(connection, name), writable():
        connection.execute(guards.DROP.format(target))


def _refuse_marked(
    connection: Connection, verb: str, name: str, purpose: str = stamps.TEST
) -> None:
    """Raise an error if a database, its role or its server is stamped for something else."""
    refusals = stamps.facts(connection, name, purpose).refusals(purpose)
    if refusals:
        raise ConfigurationError(
            f"refused to {verb} the database {name!r}: it is stamped as {refusals[0].value}",
            f"if that is wrong, its owner can say so: {refusals[0].undo}",
        )


def may_create(server: str) -> bool:
    """Return whether the role may create databases on a server.

    Raises:
        InfrastructureError: the server does not answer.
    """
    query = "SELECT rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = current_user"
    with connect(server) as connection:
        return connection.execute(query).fetchone() == (True,)


def databases(connection: Connection) -> list[str]:
    """Return the names of all databases on the server."""
    return [name for (name,) in connection.execute("SELECT datname FROM pg_database").fetchall()]
