"""What is kept of each kind, in tables. Each method is one transaction."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, fields, replace
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import orm
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from servicebase.postgres_repository import PostgresRepository, Row
from servicebase.repository import Found, New

from ... import domain, errors
from ...models import ApiKeyRow, ModelAliasRow, ModelAliasVersionRow, SessionRow, UserRow
from ...ports import Changes

Sessions = async_sessionmaker[AsyncSession]


class PostgresCollection(PostgresRepository[New, Found, Changes, Row]):
    """All of one kind, whose fields are named as the columns of its table."""

    def __init__(
        self, sessions: Sessions, row: type[Row], kind: type[Found], name: str, *searched: str
    ) -> None:
        super().__init__(sessions)
        self.row, self.name = row, name
        self._kind, self._searched = kind, searched

    def entity(self, row: Row) -> Found:
        return self._kind(**{each.name: getattr(row, each.name) for each in fields(self._kind)})

    def matches(self, search: str) -> sa.ColumnElement[bool]:
        columns = [getattr(self.row, field) for field in self._searched]
        return sa.or_(sa.false(), *(_finds(column, search) for column in columns))


def _finds(column: sa.ColumnElement[Any], search: str) -> sa.ColumnElement[bool]:
    if isinstance(column.type, sa.ARRAY):
        return column.contains([search])
    return sa.func.lower(column).startswith(search, autoescape=True)


class PostgresUsers(PostgresCollection[domain.NewUser, domain.User, UserRow]):
    """The users, and in another table the sessions that they have open."""

    def __init__(self, sessions: Sessions) -> None:
        super().__init__(sessions, UserRow, domain.User, "user", "email")

    async def update(self, id_: UUID, changes: Changes) -> domain.User:
        if "password_hash" not in changes:
            return await super().update(id_, changes)
        async with self._transaction() as session:
            # Locked, so that who just makes a key or a session is waited for, or waits.
            await session.execute(sa.select(UserRow.id).filter_by(id=id_).with_for_update())
            await session.execute(sa.delete(SessionRow).filter_by(user_id=id_))
            if changes["password_hash"] is None:
                good = sa.update(ApiKeyRow).filter_by(user_id=id_, revoked_at=None)
                await session.execute(good.values(revoked_at=sa.func.now()))
            change = sa.update(UserRow).filter_by(id=id_).values(**changes).returning(UserRow)
            return self._found(await session.scalar(change), id_)

    async def by_email(self, email: str) -> domain.User:
        return await self._one(sa.select(UserRow).filter_by(email=email), email)

    async def open_session(
        self, session: domain.Session, password_hash: str, now: datetime
    ) -> None:
        owner = sa.select(UserRow).filter_by(id=session.user_id, password_hash=password_hash)
        async with self._transaction() as connection:
            # The user first, as where a password is changed: else each could wait for the other.
            row = await connection.scalar(owner.with_for_update(read=True))
            self._found(row, "with this password")
            await connection.execute(sa.delete(SessionRow).where(SessionRow.expires_at <= now))
            await connection.execute(sa.insert(SessionRow).values(asdict(session)))

    async def session(self, hash_: str) -> tuple[domain.Session, domain.User]:
        both = sa.select(SessionRow, UserRow).join_from(SessionRow, UserRow)
        async with self._transaction() as connection:
            found = await connection.execute(both.where(SessionRow.hash == hash_))
            row = found.one_or_none()
            if row is None:
                raise errors.NotFoundError("session", "with this hash")
            session, user = row
            opened = domain.Session(session.hash, session.user_id, session.expires_at)
            return opened, self.entity(user)

    async def end_session(self, hash_: str) -> None:
        async with self._transaction() as connection:
            await connection.execute(sa.delete(SessionRow).filter_by(hash=hash_))


ALIASES, VERSIONS = ModelAliasRow.__table__, ModelAliasVersionRow.__table__
RENAMED = {"alias_id": "id", "created_at": "updated_at"}
"""A version is created by what updates its alias; all else has the same name in both tables."""


class PostgresAliases(PostgresCollection[domain.NewModelAlias, domain.ModelAlias, ModelAliasRow]):
    """The aliases, and in another table all of their versions."""

    def __init__(self, sessions: Sessions) -> None:
        super().__init__(sessions, ModelAliasRow, domain.ModelAlias, "alias", "alias", "tags")

    def entity(self, row: ModelAliasRow) -> domain.ModelAlias:
        return replace(super().entity(row), tags=tuple(row.tags))

    async def update(
        self, id_: UUID, changes: Changes, *, version: int | None = None
    ) -> domain.ModelAlias:
        if changes:
            seen = {} if version is None else {"version": version}
            change = sa.update(ModelAliasRow).filter_by(id=id_, **seen)
            change = change.values(**changes, version=ModelAliasRow.version + 1)
            with suppress(errors.NotFoundError):
                return await self._write(change, id_)
        alias = await self.get(id_)
        if version not in {None, alias.version}:
            why = f"this alias is no longer at version {version}; read it again"
            raise errors.VersionConflictError(why)
        return alias

    async def _write(self, change: sa.Insert | sa.Update, id_: UUID) -> domain.ModelAlias:
        # One statement, so that there is a version of each change, and of no other.
        made = change.returning(*ALIASES.columns).cte("made")
        names = [column.name for column in VERSIONS.columns]
        version = sa.select(*(made.c[RENAMED.get(name, name)] for name in names))
        recorded = sa.insert(ModelAliasVersionRow).from_select(names, version).cte("recorded")
        return await self._one(sa.select(orm.aliased(ModelAliasRow, made)).add_cte(recorded), id_)

    async def routes(self, team: UUID) -> Mapping[str, domain.ModelAlias]:
        async with self._transaction() as session:
            rows = await session.scalars(sa.select(ModelAliasRow).filter_by(team_id=team))
            return {row.alias: self.entity(row) for row in rows}

    async def versions(self, id_: UUID) -> Sequence[domain.ModelAlias]:
        newest = await self.get(id_)
        statement = sa.select(VERSIONS).filter_by(alias_id=id_).order_by(sa.desc("version"))
        async with self._transaction() as session:
            found = []
            for row in (await session.execute(statement)).mappings():
                values = {RENAMED.get(name, name): value for name, value in row.items()}
                found.append(replace(newest, **{**values, "tags": tuple(row["tags"])}))
            return found
