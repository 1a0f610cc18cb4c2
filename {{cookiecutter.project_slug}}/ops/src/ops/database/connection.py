"""Reaching a PostgreSQL server, and the locks by which runs keep out of each other's way."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from sqlalchemy.engine import URL

from ..errors import InfrastructureError

Connection = psycopg.Connection[Any]

MAINTENANCE = "postgres"
"""The database that all of us connect to for locks, which are seen only within one database."""


class Lock(IntEnum):
    """Classes of advisory locks, the first of their two keys; arbitrary numbers, but ours."""

    RUN = 0x0B5_001
    """Held by a run for as long as it lives: whoever can take it knows that the run is dead."""
    BUILD = 0x0B5_002
    """Held while a template is built, so that it is built once."""
    ACTION = 0x0B5_003
    """Held while an action changes a database that has a name of its own."""


def connect(server: str, database: str = MAINTENANCE) -> Connection:
    """Return a connection in autocommit mode to a database on `server`.

    Raises:
        InfrastructureError: the server does not answer.
    """
    try:
        return psycopg.connect(make_conninfo(server, dbname=database), autocommit=True)
    except psycopg.OperationalError as error:
        raise InfrastructureError(
            f"PostgreSQL does not let us in: {str(error).strip()}",
            "see whether the server is up and the URL is right",
        ) from error


def url(server: str, database: str, driver: str = "asyncpg") -> URL:
    """Return the SQLAlchemy URL of a database on `server`."""
    parts = conninfo_to_dict(server)
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
    """Wait for a lock, and hold it for the length of the block."""
    connection.execute("SELECT pg_advisory_lock(%s, %s)", (kind, _key(what)))
    try:
        yield
    finally:
        # Of a broken connection the server has taken the lock back by itself.
        if not connection.broken:
            connection.execute("SELECT pg_advisory_unlock(%s, %s)", (kind, _key(what)))


@contextmanager
def locked_if_free(connection: Connection, kind: Lock, what: str) -> Iterator[bool]:
    """Hold a lock for the length of the block if nobody has it; yield whether that is so."""
    query = "SELECT pg_try_advisory_lock(%s, %s)"
    got = connection.execute(query, (kind, _key(what))).fetchone() == (True,)
    try:
        yield got
    finally:
        if got and not connection.broken:
            connection.execute("SELECT pg_advisory_unlock(%s, %s)", (kind, _key(what)))


def _key(what: str) -> int:
    """Return the second key of an advisory lock, a signed 32-bit number."""
    return int.from_bytes(hashlib.blake2s(what.encode(), digest_size=4).digest(), signed=True)
