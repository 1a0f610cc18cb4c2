"""Connections to PostgreSQL servers, advisory locks, and reports of who blocks a wait.

Every wait has a timeout. Once it expires, the server no longer knows who was blocking. So it is
asked during the wait, over a second connection that is opened for long waits only.
"""

import hashlib
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from enum import IntEnum
from typing import TYPE_CHECKING, Any, LiteralString, NamedTuple, cast

import psycopg
from psycopg import errors, sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import TransactionStatus

from ..errors import ConfigurationError, InfrastructureError, StrataError
from ..servers import libpq
from ..servers.addresses import same_server

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

Connection = psycopg.Connection[Any]

MAINTENANCE = "postgres"
"""Database in which all locks are taken: an advisory lock is visible only within one database."""
LOCK_TIMEOUT, STATEMENT_TIMEOUT = 10_000, 300_000
"""Milliseconds to wait for a lock, and for a statement on the maintenance database.

Lower limits of the server, the role or the URL take precedence.
"""
GAVE_UP = (errors.LockNotAvailable, errors.QueryCanceled)
"""Errors that PostgreSQL raises when a timeout expires."""
INTERVAL = 0.05
"""Seconds between two queries for the blocking sessions."""


def assembled(text: str) -> sql.SQL:
    """Return SQL that was put together from literals and from names that the server has quoted."""
    return sql.SQL(cast("LiteralString", text))


def _at_most(setting: str, milliseconds: int) -> str:
    """Return SQL that sets a timeout of the session, unless it has a lower one."""
    return f"""
        CASE WHEN current_setting('{setting}')::interval NOT BETWEEN '1ms' AND '{milliseconds}ms'
        THEN set_config('{setting}', '{milliseconds}ms', false) END
    """


# On the maintenance database, no statement is a user's, and none takes long.
_CONNECTED = f"""
    SELECT current_database(), {_at_most("lock_timeout", LOCK_TIMEOUT)},
      CASE WHEN %s THEN {_at_most("statement_timeout", STATEMENT_TIMEOUT)} END
""".encode()


def connect(server: str, database: str = MAINTENANCE) -> Connection:
    """Return a connection with timeouts, in autocommit mode, to a database on `server`.

    Raises:
        ConfigurationError: it leads to a database of another name.
        InfrastructureError: the server cannot be reached.
    """
    try:
        connection = psycopg.connect(libpq.bounded(server, dbname=database), autocommit=True)
        limited = (database == MAINTENANCE,)
        found, *_ = connection.execute(_CONNECTED, limited).fetchone() or ("",)
    except psycopg.OperationalError as error:
        raise InfrastructureError(
            f"cannot connect to PostgreSQL: {str(error).strip()}",
            "see whether the server is up and the URL is right",
        ) from error
    if found != database:
        connection.close()
        raise ConfigurationError(
            f"refused to touch the database {database}: the connection leads to {found} instead",
            "give the URL of PostgreSQL itself, not of a pooler that leads elsewhere",
        )
    return connection


@contextmanager
def session(server: str, database: str = MAINTENANCE) -> Iterator[Connection]:
    """Yield a connection to a database, whose timeout errors name the blocking sessions.

    Raises:
        ConfigurationError: it leads to a database of another name.
        InfrastructureError: the server cannot be reached, or another session blocks for too long.
    """
    with connect(server, database) as connection, _watched(connection):
        yield connection


@contextmanager
def beside(connection: Connection, database: str) -> Iterator[Connection]:
    """Yield a `session` with a database on the very server that `connection` has reached.

    It connects to the same address, and verifies that the same server answers.

    Raises:
        ConfigurationError: it leads to another server, or to a database of another name.
        InfrastructureError: the server cannot be reached, or another session blocks for too long.
    """
    with session(reached(connection), database) as other:
        if not same_server(connection, other):
            raise ConfigurationError(
                f"refused to touch the database {database}: two connections to"
                f" {connection.info.host} have reached two servers",
                "give the URL of one server, by its address",
            )
        yield other


def reached(connection: Connection) -> str:
    """Return a connection string for the address that a connection has reached, not the name."""
    info = connection.info
    # From libpq, since psycopg's `info.dsn` omits the password.
    given = {
        option.keyword.decode(): option.val.decode()
        for option in connection.pgconn.info
        if option.val is not None
    }
    given |= {"host": info.host, "port": str(info.port)}
    if info.hostaddr:
        given["hostaddr"] = info.hostaddr
    return make_conninfo("", **given)


def url(server: str, database: str) -> "URL":
    """Return the URL of a database on `server` for SQLAlchemy and asyncpg."""
    # Imported lazily, as in `migrations`.
    from sqlalchemy.engine import URL

    parts = conninfo_to_dict(server)
    host = str(parts.get("host", "localhost"))
    port = int(str(parts["port"])) if "port" in parts else None
    # asyncpg takes no other libpq option as text: a timeout, for one, has to be a number.
    query = {"ssl": str(parts["sslmode"])} if "sslmode" in parts else {}
    # A socket's directory is not a host name: the driver takes it from the query.
    unix = host.startswith("/")
    if unix:
        query |= {"host": host, **({"port": str(port)} if port else {})}
    return URL.create(
        "postgresql+asyncpg",
        username=str(parts["user"]) if "user" in parts else None,
        password=str(parts["password"]) if "password" in parts else None,
        host=None if unix else host,
        port=None if unix else port,
        database=database,
        query=query,
    )


class Lock(IntEnum):
    """Classes of advisory locks, the first of their two keys: arbitrary, but unique to Strata."""

    RUN = 0x0B5_001
    """Lock that a run holds while it lives: if it can be acquired, the run is dead."""
    BUILD = 0x0B5_002
    """Lock that is held while a template is built, so that it is built once."""
    ACTION = 0x0B5_003
    """Lock that is held while an action changes a database with a fixed name."""

    @property
    def timeout(self) -> str:
        """Time to wait for it, unless the connection has a limit of its own."""
        # Building a template runs all migrations.
        return "4min" if self is Lock.BUILD else "30s"


_SET_TIMEOUT = f"""
    SELECT CASE WHEN current_setting('lock_timeout')::interval = '{LOCK_TIMEOUT}ms'
    THEN set_config('lock_timeout', %s, true) END
""".encode()


@contextmanager
def locked(connection: Connection, kind: Lock, what: str) -> Iterator[None]:
    """Wait for a lock, up to a timeout, and hold it for the length of the block.

    Raises:
        InfrastructureError: another session holds it, and does not release it in time.
    """
    with locked_if_free(connection, kind, what) as got:
        # The lock is nearly always free, and then one query is enough.
        if got:
            yield
            return
    keys = (kind, _key(what))
    try:
        # The transaction limits the scope of the timeout; the lock belongs to the session.
        with connection.transaction():
            connection.execute(_SET_TIMEOUT, (kind.timeout,))
            connection.execute("SELECT pg_advisory_lock(%s, %s)", keys)
    except errors.LockNotAvailable as error:
        facts = {"kind": kind, "key": _key(what) % 2**32}
        raise _gave_up(
            f"another action is using {what}", holders(connection, ADVISORY, **facts)
        ) from error
    try:
        yield
    finally:
        _unlock(connection, keys)


@contextmanager
def locked_if_free(connection: Connection, kind: Lock, what: str) -> Iterator[bool]:
    """Hold a lock for the length of the block if it is free; yield whether it was."""
    keys = (kind, _key(what))
    got = connection.execute("SELECT pg_try_advisory_lock(%s, %s)", keys).fetchone() == (True,)
    try:
        yield got
    finally:
        if got:
            _unlock(connection, keys)


def _unlock(connection: Connection, keys: tuple[int, int]) -> None:
    # The server has already released the locks of a broken connection.
    if not connection.broken:
        connection.execute("SELECT pg_advisory_unlock(%s, %s)", keys)


def _key(what: str) -> int:
    """Return the second key of an advisory lock, a signed 32-bit number."""
    return int.from_bytes(hashlib.blake2s(what.encode(), digest_size=4).digest(), signed=True)


class Holder(NamedTuple):
    """A session or a prepared transaction that blocks."""

    who: str
    end: str
    """Statement that ends it."""


class Holding(NamedTuple):
    """Conditions that select the blockers in `pg_stat_activity` and in `pg_prepared_xacts`."""

    session: str
    prepared: str


_BY_PROCESS = "pid IN (SELECT pid FROM pg_locks AS held WHERE granted AND {held})"
# A prepared transaction has no process; the lock on its own transaction ID identifies it.
_BY_NUMBER = """transaction IN (
    SELECT own.transactionid FROM pg_locks AS held JOIN pg_locks AS own
      ON own.pid IS NULL AND own.virtualtransaction = held.virtualtransaction
    WHERE held.pid IS NULL AND held.granted AND own.transactionid IS NOT NULL AND {held})
"""
_ADVISORY = """
    held.locktype = 'advisory' AND held.classid = %(kind)s::oid AND held.objid = %(key)s::oid
"""
_WANTED = """EXISTS (
    SELECT FROM pg_locks AS wanted WHERE wanted.pid = %(pid)s AND NOT wanted.granted
      AND (wanted.locktype, wanted.database, wanted.relation, wanted.page, wanted.tuple,
           wanted.transactionid, wanted.classid, wanted.objid, wanted.objsubid)
        IS NOT DISTINCT FROM
          (held.locktype, held.database, held.relation, held.page, held.tuple,
           held.transactionid, held.classid, held.objid, held.objsubid))
"""
IN_DATABASE = Holding("datname = %(name)s", "database = %(name)s")
PREPARED = IN_DATABASE._replace(session="false")
ADVISORY = Holding(_BY_PROCESS.format(held=_ADVISORY), _BY_NUMBER.format(held=_ADVISORY))
BLOCKING = Holding("pid = ANY (pg_blocking_pids(%(pid)s))", _BY_NUMBER.format(held=_WANTED))
_HOLDERS = """
    SELECT concat_ws(' ', 'process', pid, nullif(application_name, ''),
                     'as ' || coalesce(usename, backend_type),
                     'since ' || coalesce(xact_start, backend_start)::timestamptz(0),
                     '(' || state || ')',
                     CASE WHEN query NOT IN ('', '<insufficient privilege>')
                     THEN left(query, 200) END),
           format('SELECT pg_terminate_backend(%%s)', pid)
    FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND {session}
    UNION ALL
    SELECT format('prepared transaction %%L as %%s since %%s',
                  gid, owner, prepared::timestamptz(0)),
           format('ROLLBACK PREPARED %%L, in the database %%s', gid, database)
    FROM pg_prepared_xacts WHERE {prepared}
"""


def holders(connection: Connection, how: Holding, **facts: object) -> list[Holder]:
    """Return the sessions and prepared transactions that block."""
    query = _HOLDERS.format(**how._asdict())
    return [Holder(*row) for row in connection.execute(query, facts).fetchall()]


def listed(found: Sequence[Holder]) -> str:
    """Return blockers as text."""
    return "; ".join(each.who for each in found)


def ending(found: Sequence[Holder]) -> str:
    """Return a hint on how to get past blockers."""
    ends = "; ".join(each.end for each in found)
    return "wait for them, or end them" + (f" ({ends})" if ends else "") + ", then run it again"


def _gave_up(what: str, found: Sequence[Holder]) -> InfrastructureError:
    """Return the error for a wait that timed out, with its blockers."""
    who = listed(found) or "a session that this role may not see"
    return InfrastructureError(f"{what}: {who}", ending(found))


@contextmanager
def _watched(connection: Connection) -> Iterator[None]:
    """Name the sessions that block a connection if it times out.

    Raises:
        InfrastructureError: a timeout has expired.
    """
    query = "SELECT pg_backend_pid(), extract(epoch FROM current_setting('lock_timeout')::interval)"
    pid, limit = connection.execute(query).fetchone() or (0, 0)
    name, address = connection.info.dbname, reached(connection)
    found: list[Holder] = []
    done = threading.Event()

    def watch() -> None:
        # It only adds a detail to a message, which can do without it.
        with suppress(psycopg.Error, StrataError):
            # Not at once: few waits are long.
            while not done.wait(float(limit) / 4):
                if connection.info.transaction_status is TransactionStatus.ACTIVE:
                    with connect(address) as observer:
                        while not done.wait(INTERVAL):
                            found[:] = holders(observer, BLOCKING, pid=pid) or found

    thread = threading.Thread(target=watch, name="waits", daemon=True)
    thread.start()
    try:
        yield
    except errors.LockNotAvailable as error:
        raise _gave_up(f"{name} is locked by others", found) from error
    except errors.QueryCanceled as error:
        raise InfrastructureError(
            f"PostgreSQL timed out: {str(error).strip()}",
            "see what else the server is doing, then run it again",
        ) from error
    finally:
        done.set()
        thread.join()


@contextmanager
def exclusive(connection: Connection, name: str) -> Iterator[None]:
    """Name the sessions that keep a database from being copied or dropped.

    Raises:
        InfrastructureError: they stay connected for longer than the five seconds PostgreSQL waits.
    """
    try:
        yield
    except errors.ObjectInUse as error:
        found = holders(connection, IN_DATABASE, name=name)
        raise _gave_up(f"others are connected to {name}", found) from error
