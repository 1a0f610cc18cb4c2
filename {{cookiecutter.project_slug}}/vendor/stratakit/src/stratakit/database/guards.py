"""Decide what may be destroyed: a table of rules, and the facts about a database that they ask for.

A database is destroyed only if its server is ours; or if its host is local or on the allow list,
its name is that of a database of this project to develop on or to test with, and its stamp says the
same. Whoever has the server, any other stamp closes it. What a URL says is not believed: it can
redirect, and a tunnel makes every host local. And a connection is not believed to lead where
another one has led: what changes or destroys is looked at again over the very connection that does
so.
"""

import ipaddress
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial

from psycopg import errors, sql

from .. import names
from ..errors import ConfigurationError, InfrastructureError, StrataError
from ..pyproject import table
from ..servers import Server, external
from ..servers.addresses import leads_to
from ..servers.waiting import until
from . import stamps
from .connection import (
    IN_DATABASE,
    PREPARED,
    Connection,
    Holder,
    beside,
    ending,
    exclusive,
    holders,
    listed,
    reached,
)
from .contents import Contents, contents_of
from .stamps import OWNER, STAMP, TEST, Facts

SESSION_GRACE = 2.0
"""Seconds that a session may take to end after its client has: on a busy machine, as long."""
RESTAMP = f"ALTER DATABASE {{name}} SET {STAMP} = '{{purpose}}'"
DROP = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")


@dataclass(frozen=True, slots=True)
class DatabaseInfo:
    """What is known of a database before something is done to it."""

    name: str
    owned: bool
    """Whether the server is ours, and so whatever is on it."""
    host: str
    """Where the connection really goes: an address, or a folder with a socket in it."""
    facts: Facts
    pooled: bool
    sessions: tuple[str, ...]
    """Who else is connected: application, user, address."""
    contents: Callable[[], Contents]
    """Counts what is in it: only when needed, since that takes a connection of its own."""
    prepared: tuple[Holder, ...] = ()
    """Transactions in it that are prepared for a commit in two phases."""
    purpose: str = TEST
    """What it is to be used for."""
    user: str | None = None
    """The project and the service that want to use it; None where that does not matter."""

    @property
    def exists(self) -> bool:
        """Whether it is there."""
        return self.facts.oid is not None

    @property
    def unstamped(self) -> bool:
        """Whether it holds something, and is not stamped for this purpose."""
        if not self.exists or self.facts.stamped(self.purpose):
            return False
        found = self.contents()
        return bool(found.held) and not (found.facts and found.facts.stamped(self.purpose))

    @property
    def local(self) -> bool:
        """Whether the server is on this machine, by the address that was connected to."""
        if self.host.startswith(("/", "@")) or not self.host:
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def allowed(self) -> bool:
        """Whether the project allows its host: by the address, or by a name that leads there."""
        listed = table().get("destroyable_hosts", [])
        return any(leads_to(str(each), self.host) for each in listed)

    def __str__(self) -> str:
        """Describe it for somebody who is about to lose it."""
        return f"{self.name} on {self.host}: {self.contents() if self.exists else 'not there'}"


@dataclass(frozen=True, slots=True)
class Rule:
    """A reason not to destroy a database."""

    broken: Callable[[DatabaseInfo], bool]
    why: str
    hint: str
    forceable: bool = False
    error: type[StrataError] = ConfigurationError


FOREIGN = Rule(
    lambda it: it.user is not None and it.facts.owner not in (None, it.user),
    "it belongs to the service {owner}, and this is {user}",
    "call the project or the service something else, or use another server; if it belongs here,"
    f" its owner can say so: ALTER DATABASE {{name}} SET {OWNER} = '{{user}}'",
)
RULES = (
    FOREIGN,
    Rule(
        lambda it: it.facts.recovering,
        "its server is a replica or is recovering",
        "use the primary",
    ),
    Rule(
        lambda it: it.pooled,
        "the URL leads through a pooler in transaction mode, where locks do not hold",
        "give the URL of PostgreSQL itself",
    ),
    Rule(
        lambda it: bool(it.facts.refusals(it.purpose)),
        "it is stamped as {refusals}",
        "if that is wrong, its owner can say so: {undo}",
    ),
    Rule(
        lambda it: not (it.owned or it.local or it.allowed),
        "its host, {host}, is neither this machine nor on the allow list",
        'destroyable_hosts = ["{host}"], or its name, in the [tool.stratakit] table of'
        " pyproject.toml",
    ),
    Rule(
        lambda it: not it.owned and not is_name(it.name, it.purpose),
        "its name is not one of this project's {purpose} databases",
        "the name of a {purpose} database is {prefix}_SERVICE_{purpose}",
    ),
    Rule(
        lambda it: not it.owned and it.unstamped,
        "it is not empty, and is not stamped as a {purpose} database",
        f"if it is one, its owner can say so: {RESTAMP}",
    ),
    Rule(
        lambda it: bool(it.sessions),
        "others are connected to it: {sessions}",
        "close them, or pass --force to terminate them",
        forceable=True,
    ),
)
"""Reasons not to use a database."""
DESTROYING = (
    *RULES,
    # The rows that it has written are seen by nobody until then, so that they cannot be deleted.
    Rule(
        lambda it: bool(it.prepared),
        "what is prepared in it comes back when it is committed: {prepared}",
        "{ending}",
        error=InfrastructureError,
    ),
)
"""Reasons not to destroy a database, or what is in it."""


def check(target: DatabaseInfo, *, force: bool = False, rules: Sequence[Rule] = RULES) -> None:
    """Refuse to go on if the database may not be destroyed, or breaks others of the rules.

    Raises:
        ConfigurationError: it may not; nothing was touched.
        InfrastructureError: a transaction is prepared in what is to be destroyed; nor was then.
    """
    for rule in rules:
        if rule.broken(target) and not (force and rule.forceable):
            refusals = target.facts.refusals(target.purpose)
            facts = {
                "name": target.name,
                "purpose": target.purpose,
                "refusals": ", ".join(dict.fromkeys(each.value for each in refusals)),
                "undo": "; ".join(each.undo for each in refusals),
                "host": target.host,
                "owner": target.facts.owner,
                "user": target.user,
                "prefix": names.prefix(),
                "sessions": "; ".join(target.sessions),
                "prepared": listed(target.prepared),
                "ending": ending(target.prepared),
            }
            raise rule.error(
                f"refused to touch the database {target}: {rule.why.format(**facts)}",
                rule.hint.format(**facts),
            )


def is_name(name: str, purpose: str) -> bool:
    """Return whether `name` is one that this project gives to databases of a purpose, or makes."""
    named = name.startswith(f"{names.prefix()}_") and name.endswith(f"_{purpose}")
    return named or names.is_ours(name)


def inspect(
    connection: Connection,
    server: Server,
    name: str,
    purpose: str = TEST,
    user: str | None = None,
) -> DatabaseInfo:
    """Find out what the rules ask about the database `name`, over a connection to its server."""
    return DatabaseInfo(
        name=name,
        owned=server.owned,
        # Where it has come out, not the name that was given.
        host=connection.info.hostaddr or connection.info.host,
        facts=stamps.facts(connection, name, purpose),
        pooled=not server.owned and external.pooled(server.url),
        sessions=_others(connection, name),
        contents=partial(contents_of, connection, reached(connection), name),
        prepared=_prepared(connection, name),
        purpose=purpose,
        user=user,
    )


def refreshed(connection: Connection, target: DatabaseInfo) -> DatabaseInfo:
    """Return what is known of a database, with what the server says about it now."""
    return replace(
        target,
        facts=stamps.facts(connection, target.name, target.purpose),
        prepared=_prepared(connection, target.name),
    )


@contextmanager
def opened(
    connection: Connection, target: DatabaseInfo, rules: Sequence[Rule] = RULES
) -> Iterator[Connection]:
    """Yield a connection to a database that was checked, once it proves to lead to that one.

    Args:
        connection: the one over which it was checked.
        target: what was found.
        rules: those that it must not break.

    Raises:
        ConfigurationError: it leads somewhere else, or to what may not be changed any more.
        InfrastructureError: somebody is in the way for too long.
    """
    with beside(connection, target.name) as own:
        _prove(own, target, rules)
        yield own


def drop(connection: Connection, target: DatabaseInfo) -> None:
    """Drop a database that was checked over `connection`, if it is still that one.

    Raises:
        ConfigurationError: it is another one, or may not be destroyed any more.
        InfrastructureError: somebody is in the way for too long.
    """
    _prove(connection, target, DESTROYING)
    if not target.exists:
        return
    with exclusive(connection, target.name), _naming_sessions(connection, target.name):
        connection.execute(DROP.format(sql.Identifier(target.name)))


def _prove(connection: Connection, target: DatabaseInfo, rules: Sequence[Rule]) -> None:
    """Refuse to go on if the name now belongs to another database than the one that was checked."""
    now = refreshed(connection, target)
    if now.facts.oid != target.facts.oid:
        raise ConfigurationError(
            f"refused to touch the database {target.name}: it is another one than that which was"
            " looked at a moment ago",
            "see who else drops and creates it, then run it again",
        )
    check(now, force=True, rules=rules)


def terminate_sessions(connection: Connection, name: str) -> None:
    """Terminate the sessions of whoever else is connected to a database."""
    with _naming_sessions(connection, name):
        connection.execute(_TERMINATION, (name,))
    _others(connection, name)


@contextmanager
def _naming_sessions(connection: Connection, name: str) -> Iterator[None]:
    """Name the sessions that the role may not terminate, if one of them stops it.

    Raises:
        InfrastructureError: there are some.
    """
    try:
        yield
    except errors.InsufficientPrivilege as error:
        # By the server's function, since its words depend on its language.
        if error.diag.source_function not in _TERMINATING:
            raise
        who = connection.info.user
        found = holders(connection, IN_DATABASE, name=name)
        raise InfrastructureError(
            f"the role {who} may not end the sessions of others in {name}: {listed(found)}",
            f'close them, or let a superuser do it; or, as one: GRANT pg_signal_backend TO "{who}",'
            " which is not enough for sessions of a superuser",
        ) from error


def _others(connection: Connection, name: str) -> tuple[str, ...]:
    """Return who else is connected to a database, after a moment for those who are leaving."""
    left: list[str] = []

    def gone() -> None:
        left[:] = [text for (text,) in connection.execute(_SESSIONS, (name,)).fetchall()]
        if left:
            raise TimeoutError

    with suppress(TimeoutError):
        until(gone, SESSION_GRACE)
    return tuple(left)


def _prepared(connection: Connection, name: str) -> tuple[Holder, ...]:
    return tuple(holders(connection, PREPARED, name=name))


# What a session is, a role without the right to know is not told; whose it is, and where, it is.
_CLIENT = """
    datname = %s AND pid <> pg_backend_pid() AND usesysid IS NOT NULL
    AND coalesce(backend_type, 'client backend') = 'client backend'
"""
_TERMINATING = ("pg_terminate_backend", "TerminateOtherDBBackends")
_SESSIONS = f"""
    SELECT concat_ws(' ', nullif(application_name, ''), 'as', usename, 'from',
                     coalesce(host(client_addr), 'a socket'))
    FROM pg_stat_activity WHERE {_CLIENT}
"""  # noqa: S608 - the condition above
_TERMINATION = f"""
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {_CLIENT}
"""  # noqa: S608 - the condition above
