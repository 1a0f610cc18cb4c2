"""What may be destroyed: the rules, as a table, and what is found out about a database for them.

A database is destroyed only if its server is ours; or if its host is local or on the allow list,
its name is a test name of this project, and its stamp says that it is for tests. The stamp is a
setting on the database itself, written when it is created: it is not in the schema, is not copied
by a clone, and goes wherever the database goes. What a URL says is not believed: it can redirect,
and a tunnel makes every host local.
"""

import ipaddress
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from psycopg import OperationalError, errors, sql

from .. import names
from ..errors import ConfigurationError, InfrastructureError
from ..graph import project
from ..servers import Server, url
from ..servers.waiting import until
from .connection import Connection, connect

LEAVING = 0.5
"""Seconds that a session may take to end after its client has, and a database to be dropped."""
STAMP = "ops.environment"
"""The setting on a database that says what it is for.

A plain role may not make up settings; its stamp is the comment `ops.environment=test`.
"""
TEST, STACK, PRODUCTION = "test", "stack", "production"
RESTAMP = f"ALTER DATABASE {{name}} SET {STAMP} = '{TEST}'"


class Contents(NamedTuple):
    """How much is in a database."""

    tables: int
    size: int
    """Bytes."""
    stamp: str | None = None
    """Read after the tables were counted."""

    @property
    def unstamped(self) -> bool:
        """Whether it holds tables and no stamp for tests.

        One that is being made is stamped before it has tables: the stamp that was read before they
        were counted may be missing without a reason.
        """
        return self.tables > 0 and self.stamp != TEST


@dataclass(frozen=True, slots=True)
class Target:
    """What is known of a database before something is done to it."""

    name: str
    owned: bool
    """Whether the server is ours, and so whatever is on it."""
    host: str
    """Where the connection really goes: an address, or a folder with a socket in it."""
    exists: bool
    stamp: str | None
    recovering: bool
    pooled: bool
    sessions: tuple[str, ...]
    """Who else is connected: application, user, address."""
    contents: Callable[[], Contents]
    """Looks into it: only where that decides or is told, since it takes a connection of its own."""

    @property
    def local(self) -> bool:
        """Whether the server is on this machine, by the address that was connected to."""
        if self.host.startswith(("/", "@")) or not self.host:
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        """Describe it for somebody who is about to lose it."""
        if not self.exists:
            return f"{self.name} on {self.host}: not there"
        inside = self.contents()
        size = inside.size / 2**20
        return f"{self.name} on {self.host}: {inside.tables} tables, {size:.1f} MB"


@dataclass(frozen=True, slots=True)
class Rule:
    """A reason not to destroy a database."""

    broken: Callable[[Target], bool]
    why: str
    mend: str
    forceable: bool = False


RULES = (
    Rule(lambda it: it.recovering, "its server is a replica or is recovering", "use the primary"),
    Rule(
        lambda it: it.pooled,
        "the URL leads through a pooler in transaction mode, where locks do not hold",
        "give the URL of PostgreSQL itself",
    ),
    Rule(
        lambda it: it.stamp == PRODUCTION,
        "it is stamped as production",
        f"if that is wrong, its owner can say so: {RESTAMP}",
    ),
    Rule(
        lambda it: not it.owned and not it.local and it.host not in _allowed_hosts(),
        "its host, {host}, is neither this machine nor on the allow list",
        'destroyable_hosts = ["{host}"] in the [tool.ops] table of pyproject.toml',
    ),
    Rule(
        lambda it: not it.owned and not is_test_name(it.name),
        "its name is not one of this project's test databases",
        "the name of a test database is {prefix}_SERVICE_test",
    ),
    Rule(
        lambda it: not it.owned and it.exists and it.stamp != TEST and it.contents().unstamped,
        "it holds tables, and is not stamped as a test database",
        f"if it is one, its owner can say so: {RESTAMP}",
    ),
    Rule(
        lambda it: bool(it.sessions),
        "others are connected to it: {sessions}",
        "close them, or say --force to throw them out",
        forceable=True,
    ),
)


def check(target: Target, *, force: bool = False) -> None:
    """Refuse to go on if the database may not be destroyed.

    Raises:
        ConfigurationError: it may not; nothing was touched.
    """
    for rule in RULES:
        if rule.broken(target) and not (force and rule.forceable):
            facts = {
                "name": target.name,
                "host": target.host,
                "prefix": names.prefix(),
                "sessions": "; ".join(target.sessions),
            }
            raise ConfigurationError(
                f"refused to touch the database {target}: {rule.why.format(**facts)}",
                rule.mend.format(**facts),
            )


def is_test_name(name: str) -> bool:
    """Say whether `name` is that of a test database of this project, or was made by a run of it."""
    named = name.startswith(f"{names.prefix()}_") and name.endswith("_test")
    return named or names.authentic(name)


def stamp(connection: Connection, name: str, purpose: str = TEST) -> None:
    """Say on a database what it is for."""
    target = sql.Identifier(name)
    setting = sql.SQL("ALTER DATABASE {} SET {} = {}")
    comment = sql.SQL("COMMENT ON DATABASE {} IS {}")
    try:
        connection.execute(setting.format(target, sql.SQL(STAMP), sql.Literal(purpose)))
    except errors.InsufficientPrivilege:
        connection.execute(comment.format(target, sql.Literal(f"{STAMP}={purpose}")))


def inspect(connection: Connection, server: Server, name: str) -> Target:
    """Find out what the rules ask about the database `name`, over a connection to its server."""
    exists, recovering, stamped = _facts(connection, name)
    return Target(
        name=name,
        owned=server.owned,
        host=_host(connection),
        exists=exists,
        stamp=stamped,
        recovering=recovering,
        pooled=not server.owned and url.pooled(server.url),
        sessions=_others(connection, name),
        contents=partial(_contents, server.url, name) if exists else lambda: Contents(0, 0),
    )


def _facts(connection: Connection, name: str) -> tuple[bool, bool, str | None]:
    row = connection.execute(_FACTS, {"name": name, "stamp": f"{STAMP}="}).fetchone()
    return row or (False, False, None)


def evict(connection: Connection, name: str) -> None:
    """Throw out whoever else is connected to a database."""
    connection.execute(_EVICTION, (name,))
    _others(connection, name)


def _others(connection: Connection, name: str) -> tuple[str, ...]:
    """Return who else is connected to a database, once those who are leaving have gone."""
    left: list[str] = []

    def gone() -> None:
        left[:] = [text for (text,) in connection.execute(_SESSIONS, (name,)).fetchall()]
        if left:
            raise TimeoutError

    with suppress(TimeoutError):
        until(gone, LEAVING)
    return tuple(left)


def _host(connection: Connection) -> str:
    """Return where a connection goes: the address that was reached, not the name that was given."""
    return connection.info.hostaddr or connection.info.host


def _contents(server: str, name: str) -> Contents:
    """Look into a database; into one that is dropped or replaced just now, until that is over."""
    found: list[Contents] = []
    try:
        until(lambda: found.append(_look(server, name)), LEAVING)
    except TimeoutError as error:
        raise (error.__cause__ or error) from None
    return found[0]


def _look(server: str, name: str) -> Contents:
    query = "SELECT count(*), pg_database_size(current_database()) FROM pg_stat_user_tables"
    try:
        with connect(server, name) as connection:
            row = connection.execute(query).fetchone()
            *_, stamped = _facts(connection, name)
    except (InfrastructureError, OperationalError):
        with connect(server) as connection:
            there = connection.execute("SELECT FROM pg_database WHERE datname = %s", (name,))
        # Its sessions are ended before it is gone, so that it may be there a moment longer.
        if there.rowcount:
            raise
        return Contents(0, 0)
    tables, size = row or (0, 0)
    return Contents(tables, size, stamped)


def _allowed_hosts() -> list[str]:
    return list(project().get("destroyable_hosts", []))


_FACTS = """
    SELECT true, pg_is_in_recovery(),
      (SELECT substr(said, length(%(stamp)s) + 1)
       FROM (SELECT unnest(setconfig) FROM pg_db_role_setting
             WHERE setdatabase = pg_database.oid AND setrole = 0
             UNION ALL SELECT shobj_description(oid, 'pg_database')) AS sayings (said)
       WHERE starts_with(said, %(stamp)s) LIMIT 1)
    FROM pg_database WHERE datname = %(name)s
    UNION ALL SELECT false, pg_is_in_recovery(), NULL LIMIT 1
"""
_SESSIONS = """
    SELECT concat_ws(' ', nullif(application_name, ''), 'as', usename, 'from',
                     coalesce(host(client_addr), 'a socket'))
    FROM pg_stat_activity
    WHERE datname = %s AND pid <> pg_backend_pid() AND backend_type = 'client backend'
"""
_EVICTION = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = %s AND pid <> pg_backend_pid() AND backend_type = 'client backend'
"""
