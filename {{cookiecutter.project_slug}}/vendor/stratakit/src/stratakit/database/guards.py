"""Rules that decide which databases may be destroyed, and the facts that they depend on.

A database is destroyed only if its server is ours; or if its host is local or on the allow list,
its name is that of a `dev` or `test` database of this project, and its stamp agrees. On any server,
a different stamp forbids it. URLs are not trusted: they can redirect, and a tunnel makes every host
local. Nor is a connection trusted to lead where another one has led: before a database is changed
or destroyed, it is checked again over the very connection that does so.
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
"""Seconds that a session may take to end after its client has, as it can on a busy machine."""
RESTAMP = f"ALTER DATABASE {{name}} SET {STAMP} = '{{purpose}}'"
DROP = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")


@dataclass(frozen=True, slots=True)
class DatabaseInfo:
    """Facts about a database, collected before something is done to it."""

    name: str
    owned: bool
    """Whether the server is ours, and so everything on it."""
    host: str
    """Actual endpoint of the connection: an address, or the directory of a socket."""
    facts: Facts
    pooled: bool
    sessions: tuple[str, ...]
    """Other sessions connected to it: application, user, address."""
    contents: Callable[[], Contents]
    """Function that counts its contents: called only if needed, since it opens a connection."""
    prepared: tuple[Holder, ...] = ()
    """Prepared transactions in it, which wait for a two-phase commit."""
    purpose: str = TEST
    """Purpose for which it is to be used."""
    user: str | None = None
    """Project and service that want to use it; None if that does not matter."""

    @property
    def exists(self) -> bool:
        """Whether it exists."""
        return self.facts.oid is not None

    @property
    def unstamped(self) -> bool:
        """Whether it has contents, but no stamp for this purpose."""
        if not self.exists or self.facts.stamped(self.purpose):
            return False
        found = self.contents()
        return bool(found.held) and not (found.facts and found.facts.stamped(self.purpose))

    @property
    def local(self) -> bool:
        """Whether the server is on this machine, according to the address connected to."""
        if self.host.startswith(("/", "@")) or not self.host:
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def allowed(self) -> bool:
        """Whether the project allows its host, by the address or by a name that resolves to it."""
        listed = table().get("destroyable_hosts", [])
        return any(leads_to(str(each), self.host) for each in listed)

    def __str__(self) -> str:
        """Describe it to a user who is about to lose it."""
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
    # The rows of a prepared transaction are invisible until it commits: they cannot be deleted.
    Rule(
        lambda it: bool(it.prepared),
        "it has prepared transactions, whose rows appear when they are committed: {prepared}",
        "{ending}",
        error=InfrastructureError,
    ),
)
"""Reasons not to destroy a database or its contents."""


def check(target: DatabaseInfo, *, force: bool = False, rules: Sequence[Rule] = RULES) -> None:
    """Raise an error if the database breaks one of the rules.

    Raises:
        ConfigurationError: it does; nothing was touched.
        InfrastructureError: a prepared transaction forbids destroying it; nothing was touched.
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
    """Return whether `name` is this project's for a database of a purpose, or generated by it."""
    named = name.startswith(f"{names.prefix()}_") and name.endswith(f"_{purpose}")
    return named or names.is_ours(name)


def inspect(
    connection: Connection,
    server: Server,
    name: str,
    purpose: str = TEST,
    user: str | None = None,
) -> DatabaseInfo:
    """Collect the facts about the database `name`, over a connection to its server."""
    return DatabaseInfo(
        name=name,
        owned=server.owned,
        # The address that was reached, not the name that was given.
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
    """Return the facts about a database, updated with the current ones of the server."""
    return replace(
        target,
        facts=stamps.facts(connection, target.name, target.purpose),
        prepared=_prepared(connection, target.name),
    )


@contextmanager
def opened(
    connection: Connection, target: DatabaseInfo, rules: Sequence[Rule] = RULES
) -> Iterator[Connection]:
    """Yield a connection to a database that was checked, after verifying that it leads there.

    Args:
        connection: the connection over which it was checked.
        target: the facts that were found.
        rules: the rules that it must not break.

    Raises:
        ConfigurationError: it leads elsewhere, or the database may no longer be changed.
        InfrastructureError: another session blocks for too long.
    """
    with beside(connection, target.name) as own:
        _prove(own, target, rules)
        yield own


def drop(connection: Connection, target: DatabaseInfo) -> None:
    """Drop a database that was checked over `connection`, if it is still the same one.

    Raises:
        ConfigurationError: it is another one, or may no longer be destroyed.
        InfrastructureError: another session blocks for too long.
    """
    _prove(connection, target, DESTROYING)
    if not target.exists:
        return
    with exclusive(connection, target.name), _naming_sessions(connection, target.name):
        connection.execute(DROP.format(sql.Identifier(target.name)))


def _prove(connection: Connection, target: DatabaseInfo, rules: Sequence[Rule]) -> None:
    """Raise an error if the name now belongs to another database than the one checked."""
    now = refreshed(connection, target)
    if now.facts.oid != target.facts.oid:
        raise ConfigurationError(
            f"refused to touch the database {target.name}: it is not the one that was checked a"
            " moment ago",
            "see who else drops and creates it, then run it again",
        )
    check(now, force=True, rules=rules)


def terminate_sessions(connection: Connection, name: str) -> None:
    """Terminate all other sessions connected to a database."""
    with _naming_sessions(connection, name):
        connection.execute(_TERMINATION, (name,))
    _others(connection, name)


@contextmanager
def _naming_sessions(connection: Connection, name: str) -> Iterator[None]:
    """Name the sessions that the role may not terminate, if the block fails because of one.

    Raises:
        InfrastructureError: it does.
    """
    try:
        yield
    except errors.InsufficientPrivilege as error:
        # Recognized by the server's function, since its messages are localized.
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
    """Return the other sessions of a database, after a grace period for those about to end."""
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


# An unprivileged role sees a session's user and database, but not its backend type.
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
