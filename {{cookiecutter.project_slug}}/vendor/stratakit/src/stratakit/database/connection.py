"""Reaching a PostgreSQL server, and the locks by which runs keep out of each other's way."""

import hashlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from enum import IntEnum
from functools import partial
from typing import Any

import psycopg
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from sqlalchemy.engine import URL

from ..errors import ConfigurationError, InfrastructureError
from ..servers import libpq
from ..servers.addresses import same_server
from . import waits

Connection = psycopg.Connection[Any]

MAINTENANCE = "postgres"
"""The database that all of us connect to for locks, which are seen only within one database."""


CONNECTED = f"""
    SELECT current_database(), {waits.at_most("lock_timeout", waits.LOCK)},
      CASE WHEN %(whole)s THEN {waits.at_most("statement_timeout", waits.STATEMENT)} END
"""
"""What a connection does first. On the maintenance database no statement is a user's, or long."""


class Lock(IntEnum):
    """Classes of advisory locks, the first of their two keys; arbitrary numbers, but ours."""

    RUN = 0x0B5_001
    """Held by a run for as long as it lives: whoever can take it knows that the run is dead."""
    BUILD = 0x0B5_002
    """Held while a template is built, so that it is built once."""
    ACTION = 0x0B5_003
    """Held while an action changes a database that has a name of its own."""

    @property
    def patience(self) -> str:
        """How long to wait for it, unless the connection has a limit of its own."""
        # Who builds a template goes through all migrations.
        return "4min" if self is Lock.BUILD else "30s"


def connect(server: str, database: str = MAINTENANCE) -> Connection:
    """Return a connection in autocommit mode to a database on `server`, whose waits have an end.

    Raises:
        ConfigurationError: it leads to a database of another name.
        InfrastructureError: the server does not answer.
    """
    try:
        connection = psycopg.connect(libpq.bounded(server, dbname=database), autocommit=True)
        whole = {"whole": database == MAINTENANCE}
        reached, *_ = connection.execute(CONNECTED, whole).fetchone() or ("",)
    except psycopg.OperationalError as error:
        raise InfrastructureError(
            f"cannot connect to PostgreSQL: {str(error).strip()}",
            "see whether the server is up and the URL is right",
        ) from error
    if reached != database:
        connection.close()
        raise ConfigurationError(
            f"refused to touch the database {database}: what answers by that name is {reached}",
            "give the URL of PostgreSQL itself, not of a pooler that leads elsewhere",
        )
    return connection


def beside(connection: Connection, server: str, database: str) -> Connection:
    """Return a connection to a database of the very server that `connection` is to.

    It goes to the address that this one has reached, and proves that it came out there.

    Raises:
        ConfigurationError: it leads to another server, or to a database of another name.
        InfrastructureError: the server does not answer.
    """
    other = connect(pinned(connection, server), database)
    try:
        proven = same_server(connection, other)
    except BaseException:
        other.close()
        raise
    if proven:
        return other
    other.close()
    raise ConfigurationError(
        f"refused to touch the database {database}: two connections to {connection.info.host}"
        " have reached two servers",
        "give the URL of one server, by its address",
    )


@contextmanager
def maintenance(server: str) -> Iterator[Connection]:
    """Yield a connection to a server's maintenance database; say who is in its way.

    Raises:
        InfrastructureError: somebody is for too long.
    """
    with connect(server) as connection, watched(connection, server):
        yield connection


@contextmanager
def reading(server: str, database: str) -> Iterator[Connection]:
    """Yield a connection to a database that is only looked at; say who is in its way.

    Raises:
        ConfigurationError: it leads to a database of another name.
        InfrastructureError: the server does not answer, or somebody is in the way for too long.
    """
    with connect(server, database) as connection, watched(connection, server):
        yield connection


@contextmanager
def acting(connection: Connection, server: str, database: str) -> Iterator[Connection]:
    """Yield what `beside` returns, to change that database over; say who is in its way.

    Raises:
        ConfigurationError: it leads to another server, or to a database of another name.
        InfrastructureError: somebody is in the way for too long.
    """
    with beside(connection, server, database) as own, watched(own, server):
        yield own


def watched(connection: Connection, server: str) -> AbstractContextManager[None]:
    """Name who is in the way of what is done in the block; see `waits.watched`."""
    return waits.watched(connection, partial(connect, pinned(connection, server)))


def pinned(connection: Connection, server: str) -> str:
    """Return how to reach a server where a connection to it has come out, not by name again."""
    info = connection.info
    address = {"hostaddr": info.hostaddr} if info.hostaddr else {}
    return make_conninfo(server, host=info.host, port=info.port, **address)


def url(server: str, database: str, driver: str = "asyncpg") -> URL:
    """Return the SQLAlchemy URL of a database on `server`."""
    parts = conninfo_to_dict(server if driver == "asyncpg" else libpq.bounded(server))
    host = str(parts.get("host", "localhost"))
    port = int(str(parts["port"])) if "port" in parts else None
    # A socket's folder is no host name: both drivers take it from the query.
    unix = host.startswith("/")
    own = {"host", "port", "user", "password", "dbname"}
    more = {name: str(value) for name, value in parts.items() if name not in own}
    if driver == "asyncpg":
        # Of libpq's options it takes no other as text: a timeout, for one, has to be a number.
        more = {"ssl": more["sslmode"]} if "sslmode" in more else {}
    if unix:
        more |= {"host": host, **({"port": str(port)} if port else {})}
    return URL.create(
        f"postgresql+{driver}",
        username=str(parts["user"]) if "user" in parts else None,
        password=str(parts["password"]) if "password" in parts else None,
        host=None if unix else host,
        port=None if unix else port,
        database=database,
        query=more,
    )


@contextmanager
def locked(connection: Connection, kind: Lock, what: str) -> Iterator[None]:
    """Wait for a lock, though not for ever, and hold it for the length of the block.

    Raises:
        InfrastructureError: somebody else has it, and does not give it back.
    """
    keys = (kind, _key(what))
    try:
        # Nearly always nobody has it, which takes one question.
        if connection.execute(_TRY, keys).fetchone() != (True,):
            # In a transaction, for a limit of its own; the lock is the session's all the same.
            with connection.transaction():
                connection.execute(_PATIENCE, {"patience": kind.patience})
                connection.execute("SELECT pg_advisory_lock(%s, %s)", keys)
    except errors.LockNotAvailable as error:
        facts = {"kind": kind, "key": _key(what) % 2**32}
        found = waits.holders(connection, waits.ADVISORY, **facts)
        raise waits.gave_up(f"another action is about {what}", found) from error
    try:
        yield
    finally:
        # Of a broken connection the server has taken the lock back by itself.
        if not connection.broken:
            connection.execute("SELECT pg_advisory_unlock(%s, %s)", keys)


@contextmanager
def locked_if_free(connection: Connection, kind: Lock, what: str) -> Iterator[bool]:
    """Hold a lock for the length of the block if nobody has it; yield whether that is so."""
    got = connection.execute(_TRY, (kind, _key(what))).fetchone() == (True,)
    try:
        yield got
    finally:
        if got and not connection.broken:
            connection.execute("SELECT pg_advisory_unlock(%s, %s)", (kind, _key(what)))


_TRY = "SELECT pg_try_advisory_lock(%s, %s)"
_PATIENCE = f"""
    SELECT CASE WHEN current_setting('lock_timeout')::interval = '{waits.LOCK}ms'
    THEN set_config('lock_timeout', %(patience)s, true) END
"""


def _key(what: str) -> int:
    """Return the second key of an advisory lock, a signed 32-bit number."""
    return int.from_bytes(hashlib.blake2s(what.encode(), digest_size=4).digest(), signed=True)
