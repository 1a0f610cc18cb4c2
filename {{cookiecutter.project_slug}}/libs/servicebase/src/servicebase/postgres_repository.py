"""Repository of entities in a PostgreSQL table."""

from abc import abstractmethod
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import fields
from typing import Any, Generic, TypeVar
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from . import errors
from .pagination import Position
from .postgres import translated
from .repository import NOTHING, Changes, Found, New, Where
from .tables import Stored

Row = TypeVar("Row", bound=Stored)


class PostgresRepository(Generic[New, Found, Changes, Row]):
    """Repository in a table. Each method is one transaction of a session from `sessions`.

    A subclass sets the table and the entity, and implements search.
    """

    row: type[Row]
    kind: type[Found]
    """Entity of a row: a dataclass whose fields are columns of the table."""
    name: str
    """Name of the entity in errors."""

    def __init__(self, sessions: async_sessionmaker[AsyncSession]) -> None:
        self._sessions = sessions

    def entity(self, row: Row) -> Found:
        """Return the entity of a row; override it where fields and columns differ."""
        return self.kind(**{field.name: getattr(row, field.name) for field in fields(self.kind)})

    @abstractmethod
    def matches(self, search: str) -> sa.ColumnElement[bool]:
        """Return the condition for `search`, which is in lower case."""

    async def add(self, id_: UUID, new: New) -> Found:
        """Create an entity, or return the existing one with this id."""
        values = {field.name: getattr(new, field.name) for field in fields(new)}
        try:
            return await self._write(sa.insert(self.row).values(id=id_, **values), id_)
        except errors.ConflictError:
            # A retry conflicts with its own id, or with its own name while the first is in flight.
            with suppress(errors.NotFoundError):
                return await self.get(id_)
            raise

    async def get(self, id_: UUID) -> Found:
        """Return the entity with this id."""
        return await self._one(sa.select(self.row).filter_by(id=id_), id_)

    async def page(
        self, *, limit: int, after: Position | None = None, search: str = "", where: Where = NOTHING
    ) -> Sequence[Found]:
        """Return at most `limit` entities after a position."""
        row = self.row
        statement = sa.select(row).filter_by(**where).limit(limit)
        statement = statement.order_by(row.created_at.desc(), row.id.desc())
        if after:
            statement = statement.where(sa.tuple_(row.created_at, row.id) < after)
        if search:
            statement = statement.where(self.matches(search.lower()))
        async with self._transaction() as session:
            return [self.entity(each) for each in await session.scalars(statement)]

    async def update(self, id_: UUID, changes: Changes) -> Found:
        """Replace some fields of an entity, and return it."""
        if not changes:
            return await self.get(id_)
        # One statement, so that concurrent writers do not undo each other's changes.
        return await self._write(sa.update(self.row).filter_by(id=id_).values(**changes), id_)

    async def remove(self, id_: UUID) -> None:
        """Remove the entity with this id."""
        await self._one(sa.delete(self.row).filter_by(id=id_).returning(self.row), id_)

    async def ping(self) -> None:
        """Check that the server answers a query."""
        async with self._transaction() as session:
            await session.execute(sa.text("SELECT 1"))

    async def _write(self, change: sa.Insert | sa.Update, id_: UUID) -> Found:
        return await self._one(change.returning(self.row), id_)

    async def _one(self, statement: Any, id_: UUID | str) -> Found:
        async with self._transaction() as session:
            return self._found(await session.scalar(statement), id_)

    def _found(self, row: Row | None, id_: UUID | str) -> Found:
        if row is None:
            raise errors.NotFoundError(self.name, id_)
        return self.entity(row)

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[AsyncSession]:
        with translated(self.row.metadata):
            async with self._sessions.begin() as session:
                yield session
