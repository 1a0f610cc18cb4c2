"""What is kept of one kind, in a table."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, Generic, cast
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from servicebase.pagination import Position

from ... import errors, models
from .. import entities
from ..entities import Entity, Kept, New
from .connection import transaction


def table(model: type[models.Base]) -> sa.Table:
    """Return the table of a model."""
    return cast("sa.Table", model.__table__)


class PostgresCollection(Generic[New, Kept]):
    """Keeps all of one kind in a table. Each public method is one transaction."""

    def __init__(self, engine: AsyncEngine, entity: Entity[New, Kept], rows: sa.Table) -> None:
        self.engine = engine
        self.entity = entity
        self.rows = rows

    async def create(self, new: New) -> Kept:
        """Create one."""
        async with transaction(self.engine) as connection:
            return await self.insert(connection, new)

    async def get(self, id_: UUID) -> Kept:
        """Return the one with this id."""
        return await self.find(self.rows.c.id, id_)

    async def page(
        self,
        *,
        limit: int,
        after: Position | None = None,
        search: str = "",
        team: UUID | None = None,
        user: UUID | None = None,
    ) -> Sequence[Kept]:
        """Return at most `limit` of those that come after a position."""
        columns = self.rows.c
        conditions: list[sa.ColumnElement[bool]] = []
        if after:
            conditions.append(sa.tuple_(columns.created_at, columns.id) < after)
        if search:
            needle = search.lower()
            matches = (_finds(columns[field], needle) for field in self.entity.searched)
            conditions.append(sa.or_(sa.false(), *matches))
        for owner, id_ in entities.owners(team, user).items():
            field = self.entity.owners.get(owner)
            conditions.append(columns[field] == id_ if field else sa.false())
        statement = (
            sa.select(self.rows)
            .where(*conditions)
            .order_by(columns.created_at.desc(), columns.id.desc())
            .limit(limit)
        )
        async with transaction(self.engine) as connection:
            return [self.read(row) for row in await connection.execute(statement)]

    async def update(
        self,
        id_: UUID,
        changes: Mapping[str, Any],
        *,
        version: int | None = None,  # noqa: ARG002 - only aliases have one
    ) -> Kept:
        """Replace some fields of one, and return it."""
        if not changes:
            return await self.get(id_)
        async with transaction(self.engine) as connection:
            return await self.replace(connection, id_, changes)

    async def remove(self, id_: UUID) -> None:
        """Remove the one with this id, and all that belongs to it."""
        statement = sa.delete(self.rows).where(self.rows.c.id == id_).returning(self.rows)
        async with transaction(self.engine) as connection:
            self.found(await connection.execute(statement), id_)

    async def find(self, column: sa.ColumnElement[Any], value: object) -> Kept:
        """Return the one with a value that is unique."""
        statement = sa.select(self.rows).where(column == value)
        async with transaction(self.engine) as connection:
            return self.found(await connection.execute(statement), value)

    async def insert(self, connection: AsyncConnection, new: New) -> Kept:
        """Create one, within a transaction."""
        values = {each.name: getattr(new, each.name) for each in fields(cast("Any", new))}
        statement = sa.insert(self.rows).values(values).returning(self.rows)
        return self.read((await connection.execute(statement)).one())

    async def replace(
        self, connection: AsyncConnection, id_: UUID, changes: Mapping[str, Any]
    ) -> Kept:
        """Replace some fields of one, within a transaction."""
        # One statement, so that of two writers neither undoes what the other one changed.
        matching = sa.update(self.rows).where(self.rows.c.id == id_)
        statement = matching.values(dict(changes)).returning(self.rows)
        return self.found(await connection.execute(statement), id_)

    def found(self, rows: sa.CursorResult[Any], wanted: object) -> Kept:
        """Return the one that a statement found.

        Raises:
            NotFoundError: it found none.
        """
        row = rows.one_or_none()
        if row is None:
            raise errors.NotFoundError(self.entity.name, str(wanted))
        return self.read(row)

    def read(self, row: sa.Row[Any]) -> Kept:
        """Return what a row holds."""
        return self.entity.kept(**row._asdict())


def _finds(column: sa.ColumnElement[Any], needle: str) -> sa.ColumnElement[bool]:
    if isinstance(column.type, sa.ARRAY):
        return column.contains([needle])
    return sa.func.lower(column).startswith(needle, autoescape=True)
