"""The users, and the sessions that they have open."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from ... import domain, errors, models
from .. import entities
from .collection import PostgresCollection, table
from .connection import transaction

USERS = table(models.UserRow)
SESSIONS = table(models.SessionRow)
API_KEYS = table(models.ApiKeyRow)
SESSION = sa.select(
    *(column.label(f"session_{column.name}") for column in SESSIONS.columns), *USERS.columns
).join_from(SESSIONS, USERS)


class PostgresUsers(PostgresCollection[domain.NewUser, domain.User]):
    """Keeps the users in one table, and their sessions in another."""

    def __init__(self, engine: AsyncEngine) -> None:
        super().__init__(engine, entities.USER, USERS)

    async def update(
        self, id_: UUID, changes: Mapping[str, Any], *, version: int | None = None
    ) -> domain.User:
        """Replace some fields of one, and return it."""
        if "password_hash" not in changes:
            return await super().update(id_, changes, version=version)
        async with transaction(self.engine) as connection:
            # For UPDATE, so that who just makes a key or a session is waited for, or waits.
            locked = sa.select(USERS.c.id).where(USERS.c.id == id_).with_for_update()
            await connection.execute(locked)
            user = await self.replace(connection, id_, changes)
            await _end_access(connection, user)
            return user

    async def by_email(self, email: str) -> domain.User:
        """Return the user with this email."""
        return await self.find(USERS.c.email, email)

    async def open_session(
        self, session: domain.Session, password_hash: str, now: datetime
    ) -> None:
        """Store a session, and forget those that have expired."""
        owner = (
            sa.select(USERS.c.id)
            .where(USERS.c.id == session.user_id, USERS.c.password_hash == password_hash)
            .with_for_update(read=True)
        )
        async with transaction(self.engine) as connection:
            await connection.execute(sa.delete(SESSIONS).where(SESSIONS.c.expires_at <= now))
            if await connection.scalar(owner) is None:
                raise errors.NotFoundError(self.entity.name, "with this password")
            values = {column: getattr(session, column.name) for column in SESSIONS.columns}
            await connection.execute(sa.insert(SESSIONS).values(values))

    async def session(self, hash_: str) -> tuple[domain.Session, domain.User]:
        """Return a session and whose it is, be it expired."""
        async with transaction(self.engine) as connection:
            found = await connection.execute(SESSION.where(SESSIONS.c.hash == hash_))
            row = found.mappings().one_or_none()
        if row is None:
            raise errors.NotFoundError("session", "with this hash")
        own = [column.name for column in SESSIONS.columns]
        session = domain.Session(**{name: row[f"session_{name}"] for name in own})
        return session, domain.User(**{column.name: row[column] for column in USERS.columns})

    async def end_session(self, hash_: str) -> None:
        """End a session."""
        async with transaction(self.engine) as connection:
            await connection.execute(sa.delete(SESSIONS).where(SESSIONS.c.hash == hash_))


async def _end_access(connection: AsyncConnection, user: domain.User) -> None:
    """End the sessions of a user; without a password, revoke the keys as well."""
    await connection.execute(sa.delete(SESSIONS).where(SESSIONS.c.user_id == user.id))
    if user.password_hash is None:
        theirs = sa.update(API_KEYS).where(
            API_KEYS.c.user_id == user.id, API_KEYS.c.revoked_at.is_(None)
        )
        await connection.execute(theirs.values(revoked_at=sa.func.now()))
