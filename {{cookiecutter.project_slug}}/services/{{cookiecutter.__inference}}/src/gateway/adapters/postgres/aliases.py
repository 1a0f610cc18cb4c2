"""The aliases, which have versions."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from ... import domain, errors, models
from .. import entities
from .collection import PostgresCollection, table
from .connection import transaction

VERSIONS = table(models.ModelAliasVersionRow)
# A version is created by what updates its alias.
RENAMED = {"alias_id": "id", "created_at": "updated_at"}
COLUMNS = {RENAMED.get(column.name, column.name): column for column in VERSIONS.columns}
"""What a version has of its own, by the alias's name of it; the rest is the same in all of them."""


class PostgresAliases(PostgresCollection[domain.NewModelAlias, domain.ModelAlias]):
    """Keeps the aliases in one table, and all of their versions in another."""

    def __init__(self, engine: AsyncEngine) -> None:
        super().__init__(engine, entities.ALIAS, table(models.ModelAliasRow))

    async def update(
        self, id_: UUID, changes: Mapping[str, Any], *, version: int | None = None
    ) -> domain.ModelAlias:
        """Replace some fields of one as its next version, and return it."""
        # Locked, so that nobody else makes the same version.
        statement = sa.select(self.rows).where(self.rows.c.id == id_).with_for_update()
        async with transaction(self.engine) as connection:
            alias = self.found(await connection.execute(statement), id_)
            if version not in {None, alias.version}:
                raise errors.VersionConflictError(self.entity.name, version)
            if not changes:
                return alias
            alias = await self.replace(connection, id_, {**changes, "version": alias.version + 1})
            return await _recorded(connection, alias)

    async def insert(
        self, connection: AsyncConnection, new: domain.NewModelAlias
    ) -> domain.ModelAlias:
        """Create one and its first version, within a transaction."""
        return await _recorded(connection, await super().insert(connection, new))

    async def routes(self, team: UUID) -> Mapping[str, domain.ModelAlias]:
        """Return a team's aliases by their names."""
        statement = sa.select(self.rows).where(self.rows.c.team_id == team)
        async with transaction(self.engine) as connection:
            found = await connection.execute(statement)
        return {row.alias: self.read(row) for row in found}

    async def versions(self, id_: UUID) -> Sequence[domain.ModelAlias]:
        """Return one as it is and as it was, the newest first."""
        statement = (
            sa.select(
                *(COLUMNS.get(each.name, each).label(each.name) for each in self.rows.columns)
            )
            .join_from(self.rows, VERSIONS)
            .where(self.rows.c.id == id_)
            .order_by(VERSIONS.c.version.desc())
        )
        async with transaction(self.engine) as connection:
            found = [self.read(row) for row in await connection.execute(statement)]
        if not found:
            raise errors.NotFoundError(self.entity.name, id_)
        return found

    def read(self, row: sa.Row[Any]) -> domain.ModelAlias:
        """Return what a row holds."""
        return domain.ModelAlias(**{**row._asdict(), "tags": tuple(row.tags)})


async def _recorded(connection: AsyncConnection, alias: domain.ModelAlias) -> domain.ModelAlias:
    values = {column: getattr(alias, field) for field, column in COLUMNS.items()}
    await connection.execute(sa.insert(VERSIONS).values(values))
    return alias
