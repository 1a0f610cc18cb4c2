"""PostgreSQL: connections, and translation of its errors."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy import AdaptedConnection, exc
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from . import errors

# SQLSTATE classes that are about the server, not the statement: connection, authorization,
# unknown database, deadlock, resources, operator, system.
_UNAVAILABLE = ("08", "28", "3D", "40", "53", "57", "58")

_UNIQUE_VIOLATION = "23505"
# The columns in the server's message about a duplicate key, in any language.
_KEY = re.compile(r"\(([^()]+)\)=\(")

# libpq options of a URL that `connect` handles itself, or that asyncpg does not have.
_NOT_ASYNCPGS = ("sslmode", "application_name", "connect_timeout", "channel_binding")


def address(url: str | sa.URL) -> sa.URL:
    """Return the URL for asyncpg, which knows neither libpq's `sslmode` nor other drivers."""
    given = sa.make_url(url)
    ssl = given.query.get("sslmode")
    if isinstance(ssl, str):
        given = given.update_query_dict({"ssl": ssl})
    return given.set(drivername="postgresql+asyncpg").difference_update_query(_NOT_ASYNCPGS)


def arguments(url: str | sa.URL, *, name: str, timeout: float) -> dict[str, Any]:
    """Return asyncpg's other arguments: the application name and the connection timeout.

    The URL's `application_name` overrides `name`, and its `connect_timeout` a longer `timeout`,
    in seconds; 0 or less sets no limit, as for libpq.
    """
    given = sa.make_url(url).query
    limit = float(str(given.get("connect_timeout", 0)))
    return {
        "timeout": min(timeout, limit) if limit > 0 else timeout,
        "server_settings": {"application_name": given.get("application_name", name)},
    }


def connect(url: str | sa.URL, *, name: str, pool_size: int, timeout: float) -> AsyncEngine:
    """Return an engine that waits at most `timeout` seconds for a connection or a statement.

    It connects on first use. The caller disposes of it. `name` identifies its connections in
    pg_stat_activity and the server's log, unless the URL has an `application_name`.
    """
    engine = create_async_engine(
        address(url),
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=timeout,
        # Clients' values do not belong in logs.
        hide_parameters=True,
        connect_args={**arguments(url, name=name, timeout=timeout), "command_timeout": timeout},
    )
    sa.event.listen(engine.sync_engine, "checkout", _refuse_closed)
    return engine


def _refuse_closed(connection: AdaptedConnection, *_: object) -> None:
    """Make the pool reconnect, so that no request fails after a restart of the server.

    SQLAlchemy's `pool_pre_ping` costs three round trips; asyncpg knows already.

    Raises:
        DisconnectionError: the server has closed the connection.
    """
    if connection.driver_connection.is_closed():
        raise exc.DisconnectionError


@contextmanager
def translated(metadata: sa.MetaData) -> Iterator[None]:
    """Replace errors of the server or the driver by ones that clients may see.

    Raises:
        ServiceError: see `violation`.
        UnavailableError: the server does not answer in time, or at all.
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
    # asyncpg raises OSError for an unreachable server; TimeoutError is a subclass.
    except (exc.TimeoutError, OSError) as error:
        raise errors.UnavailableError("postgres") from error


def violation(error: exc.IntegrityError, metadata: sa.MetaData) -> errors.ServiceError | None:
    """Return the error for the violated constraint, or None if clients must not see it.

    It is found by name in the models; a test checks that unique and check constraints have one.
    """
    # SQLAlchemy keeps only the text; asyncpg's exception is its cause.
    cause = error.orig and error.orig.__cause__
    name = getattr(cause, "constraint_name", None)
    rules: list[sa.Constraint | sa.Index] = []
    for table in metadata.tables.values():
        rules += [*table.constraints, *table.indexes]
    found = next((rule for rule in rules if name and rule.name == name), None)
    if found is None and getattr(cause, "sqlstate", None) == _UNIQUE_VIOLATION:
        # A partition's constraint has another name, but the same columns.
        detail = _KEY.search(str(getattr(cause, "detail", None)))
        columns = detail[1].split(", ") if detail else []
        unique = sa.PrimaryKeyConstraint | sa.UniqueConstraint
        keys = (rule for rule in rules if isinstance(rule, unique))
        found = next((key for key in keys if key.columns.keys() == columns), None)
    match found:
        case sa.PrimaryKeyConstraint() | sa.UniqueConstraint() | sa.Index() as rule:
            # The columns before the last are the scope in which it must be unique.
            return errors.ConflictError(rule.columns.keys()[-1])
        case sa.ForeignKeyConstraint() as key:
            return errors.InvalidReferenceError(key.column_keys[-1])
        case sa.CheckConstraint(info={"field": str(field)}):
            return errors.InvalidError(field, "breaks a rule")
    return None
