"""Connections to PostgreSQL, and what its errors mean."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy import AdaptedConnection, exc
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from . import errors

# Classes of SQLSTATE that tell of the server, not of the statement: connection, authorization,
# unknown database, deadlock, resources, operator, system.
_UNAVAILABLE = ("08", "28", "3D", "40", "53", "57", "58")

_UNIQUE_VIOLATION = "23505"
# How the server tells which columns have the values of another row, in any language.
_KEY = re.compile(r"\(([^()]+)\)=\(")

# What a URL may say to libpq, and `connect` does itself or asyncpg has no word for.
_NOT_ASYNCPGS = ("sslmode", "application_name", "connect_timeout", "channel_binding")


def address(url: str | sa.URL) -> sa.URL:
    """Return a URL for asyncpg, which knows neither libpq's `sslmode` nor other drivers."""
    given = sa.make_url(url)
    ssl = given.query.get("sslmode")
    if isinstance(ssl, str):
        given = given.update_query_dict({"ssl": ssl})
    return given.set(drivername="postgresql+asyncpg").difference_update_query(_NOT_ASYNCPGS)


def arguments(url: str | sa.URL, *, name: str, timeout: float) -> dict[str, Any]:
    """Return what asyncpg is told beside the address: who connects, and how long that may take.

    The URL's `application_name` goes before `name`, its `connect_timeout` before a longer
    `timeout`, in seconds; one of 0 or less is no limit, as for libpq.
    """
    given = sa.make_url(url).query
    limit = float(str(given.get("connect_timeout", 0)))
    return {
        "timeout": min(timeout, limit) if limit > 0 else timeout,
        "server_settings": {"application_name": given.get("application_name", name)},
    }


def connect(url: str | sa.URL, *, name: str, pool_size: int, timeout: float) -> AsyncEngine:
    """Return an engine that waits at most `timeout` seconds: for a connection, for a statement.

    It connects when it is first used. The caller disposes of it. `name` says whose connection it
    is, in pg_stat_activity and the server's log, unless the URL has an `application_name`.
    """
    engine = create_async_engine(
        address(url),
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=timeout,
        # Values that clients sent do not belong in logs.
        hide_parameters=True,
        connect_args={**arguments(url, name=name, timeout=timeout), "command_timeout": timeout},
    )
    sa.event.listen(engine.sync_engine, "checkout", _refuse_closed)
    return engine


def _refuse_closed(connection: AdaptedConnection, *_: object) -> None:
    """Have the pool connect anew, so that a restart of the server costs no request.

    SQLAlchemy's own way, `pool_pre_ping`, costs three round trips; asyncpg has been told already.

    Raises:
        DisconnectionError: the server has closed the connection.
    """
    if connection.driver_connection.is_closed():
        raise exc.DisconnectionError


@contextmanager
def translated(metadata: sa.MetaData) -> Iterator[None]:
    """Raise, in the place of an error of the server or the driver, what a client may know of it.

    Raises:
        ServiceError: see `violation`.
        UnavailableError: the server does not answer in time, or not at all.
    """
    try:
        yield
    except exc.IntegrityError as error:
        raise violation(error, metadata) or error from error
    except exc.DBAPIError as error:
        state = str(getattr(error.orig, "sqlstate", None) or "")
        if error.connection_invalidated or state.startswith(_UNAVAILABLE):
            raise errors.UnavailableError("postgres") from error
        raise
    # A server that is away makes asyncpg raise OSError, of which TimeoutError is one kind.
    except (exc.TimeoutError, OSError) as error:
        raise errors.UnavailableError("postgres") from error


def violation(error: exc.IntegrityError, metadata: sa.MetaData) -> errors.ServiceError | None:
    """Return the error of the violated constraint, or None if it is not for a client to know.

    The models know it by the same name; a test holds that unique and check constraints have one.
    """
    # SQLAlchemy keeps the text alone; asyncpg's own exception is its cause.
    cause = error.orig and error.orig.__cause__
    name = getattr(cause, "constraint_name", None)
    rules: list[sa.Constraint | sa.Index] = []
    for table in metadata.tables.values():
        rules += [*table.constraints, *table.indexes]
    found = next((rule for rule in rules if name and rule.name == name), None)
    if found is None and getattr(cause, "sqlstate", None) == _UNIQUE_VIOLATION:
        # That of a partition has a name of its own, and the same columns.
        detail = _KEY.search(str(getattr(cause, "detail", None)))
        columns = detail[1].split(", ") if detail else []
        unique = sa.PrimaryKeyConstraint | sa.UniqueConstraint
        keys = (rule for rule in rules if isinstance(rule, unique))
        found = next((key for key in keys if key.columns.keys() == columns), None)
    match found:
        case sa.PrimaryKeyConstraint() | sa.UniqueConstraint() | sa.Index() as rule:
            # The columns before the last one say among whom it must be unique.
            return errors.ConflictError(rule.columns.keys()[-1])
        case sa.ForeignKeyConstraint() as key:
            return errors.InvalidReferenceError(key.column_keys[-1])
        case sa.CheckConstraint(info={"field": str(field)}):
            return errors.InvalidError(field, "breaks a rule")
    return None
