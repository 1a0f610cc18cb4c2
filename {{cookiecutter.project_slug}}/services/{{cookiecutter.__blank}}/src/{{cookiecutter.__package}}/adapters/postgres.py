"""The repository on PostgreSQL."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import fields
from typing import Unpack
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    AsyncSession,
    async_sessionmaker,
    create_async_engine,
)

from .. import domain, errors, models, ports

Row = models.{{ cookiecutter.__class }}Row

# Classes of SQLSTATE that tell of the server, not of the statement: connection, authorization,
# unknown database, deadlock, resources, operator, system.
_UNAVAILABLE = ("08", "28", "3D", "40", "53", "57", "58")


def address(url: str | sa.URL) -> sa.URL:
    """Return a URL for asyncpg, which knows neither libpq's `sslmode` nor other drivers."""
    given = sa.make_url(url)
    ssl = given.query.get("sslmode")
    if isinstance(ssl, str):
        given = given.difference_update_query(["sslmode"]).update_query_dict({"ssl": ssl})
    return given.set(drivername="postgresql+asyncpg")


def connect(url: str | sa.URL, *, pool_size: int, timeout: float) -> AsyncEngine:
    """Return an engine that waits at most `timeout` seconds: for a connection, for a statement.

    It connects when it is first used. The caller disposes of it.
    """
    engine = create_async_engine(
        address(url),
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=timeout,
        # Values that clients sent do not belong in logs.
        hide_parameters=True,
        connect_args={
            "timeout": timeout,
            "command_timeout": timeout,
            # Whose connection it is, in pg_stat_activity and the server's log.
            "server_settings": {"application_name": "{{ cookiecutter.service }}"},
        },
    )
    sa.event.listen(engine.sync_engine, "checkout", _refuse_closed)
    return engine


def _refuse_closed(connection: sa.AdaptedConnection, *_: object) -> None:
    """Have the pool connect anew, so that a restart of the server costs no request.

    SQLAlchemy's own way, `pool_pre_ping`, costs three round trips; asyncpg has been told already.

    Raises:
        DisconnectionError: the server has closed the connection.
    """
    if connection.driver_connection.is_closed():
        raise exc.DisconnectionError


class PostgresRepository:
    """Keeps every {{ cookiecutter.resource }} in a table.

    Each method is one transaction of the sessions that `sessions` makes.
    """

    def __init__(self, sessions: async_sessionmaker[AsyncSession]) -> None:
        self._sessions = sessions

    async def add(
        self,
        id_: UUID,
        new: domain.New{{ cookiecutter.__class }},
    ) -> domain.{{ cookiecutter.__class }}:
        """Create one, or return the one that has this id already."""
        values = {field.name: getattr(new, field.name) for field in fields(new)}
        statement = sa.insert(Row).values(id=id_, **values).returning(Row)
        try:
            async with self._transaction() as session:
                return _found(await session.scalar(statement), id_)
        except errors.ConflictError:
            # A retry meets its own id, or, while the first attempt is on its way, its own name.
            with suppress(errors.NotFoundError):
                return await self.get(id_)
            raise

    async def get(self, id_: UUID) -> domain.{{ cookiecutter.__class }}:
        """Return the one with this id."""
        async with self._transaction() as session:
            return _found(await session.get(Row, id_), id_)

    async def page(
        self,
        *,
        limit: int,
        after: ports.Position | None = None,
        search: str = "",
    ) -> Sequence[domain.{{ cookiecutter.__class }}]:
        """Return at most `limit` of those that come after a position."""
        statement = sa.select(Row).order_by(Row.created_at.desc(), Row.id.desc()).limit(limit)
        if after:
            statement = statement.where(sa.tuple_(Row.created_at, Row.id) < after)
        if search:
            needle = search.lower()
            begins = sa.func.lower(Row.name).startswith(needle, autoescape=True)
            statement = statement.where(begins | Row.tags.contains([needle]))
        async with self._transaction() as session:
            return [_domain(row) for row in await session.scalars(statement)]

    async def update(
        self,
        id_: UUID,
        **changes: Unpack[domain.{{ cookiecutter.__class }}Changes],
    ) -> domain.{{ cookiecutter.__class }}:
        """Replace some fields of one, and return it."""
        if not changes:
            return await self.get(id_)
        # One statement, so that of two writers neither undoes what the other one changed.
        statement = sa.update(Row).where(Row.id == id_).values(**changes).returning(Row)
        async with self._transaction() as session:
            return _found(await session.scalar(statement), id_)

    async def remove(self, id_: UUID) -> None:
        """Remove the one with this id."""
        statement = sa.delete(Row).where(Row.id == id_).returning(Row)
        async with self._transaction() as session:
            _found(await session.scalar(statement), id_)

    async def ping(self) -> None:
        """Return if the server answers a query."""
        async with self._transaction() as session:
            await session.execute(sa.text("SELECT 1"))

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[AsyncSession]:
        try:
            async with self._sessions.begin() as session:
                yield session
        except exc.DBAPIError as error:
            raise _translate(error) or error from error
        # A server that is away makes asyncpg raise OSError, of which TimeoutError is one kind.
        except (exc.TimeoutError, OSError) as error:
            raise errors.UnavailableError("postgres") from error


def _domain(row: Row) -> domain.{{ cookiecutter.__class }}:
    return domain.{{ cookiecutter.__class }}(
        id=row.id,
        name=row.name,
        quantity=row.quantity,
        tags=tuple(row.tags),
        attributes=row.attributes,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def _found(row: Row | None, id_: UUID) -> domain.{{ cookiecutter.__class }}:
    if row is None:
        raise errors.NotFoundError(f"there is no {{ cookiecutter.resource }} {id_}")
    return _domain(row)


def _translate(error: exc.DBAPIError) -> errors.ServiceError | None:
    """Return what a client may know of `error`, or None if it is a bug of ours."""
    if isinstance(error, exc.IntegrityError):
        return violation(error)
    state = str(getattr(error.orig, "sqlstate", None) or "")
    if error.connection_invalidated or state.startswith(_UNAVAILABLE):
        return errors.UnavailableError("postgres")
    return None


def violation(error: exc.IntegrityError) -> errors.ServiceError | None:
    """Return the error of the violated constraint, or None if it is not for a client to know.

    The models know it by the same name; a test holds that unique and check constraints have one.
    """
    # SQLAlchemy keeps the text alone; asyncpg's own exception is its cause.
    name = getattr(error.orig and error.orig.__cause__, "constraint_name", None)
    rules: list[sa.Constraint | sa.Index] = []
    for table in Row.metadata.tables.values():
        rules += [*table.constraints, *table.indexes]
    match next((rule for rule in rules if name and rule.name == name), None):
        case sa.PrimaryKeyConstraint() | sa.UniqueConstraint() | sa.Index() as unique:
            return errors.ConflictError(", ".join(unique.columns.keys()))
        case sa.CheckConstraint(info={"field": str(field)}):
            return errors.InvalidError(field, "breaks a rule")
    return None
