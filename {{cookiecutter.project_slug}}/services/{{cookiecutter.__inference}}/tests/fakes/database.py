"""The database in memory."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Generic
from uuid import UUID, uuid4

from servicebase.pagination import Position

from gateway import domain, errors, ports
from gateway.adapters import entities
from gateway.adapters.entities import Entity, Kept, New

from .spending import MemorySpending


class MemoryCollection(Generic[New, Kept]):
    """Keeps all of one kind in a dict."""

    def __init__(self, entity: Entity[New, Kept], database: "MemoryDatabase") -> None:
        self.entity = entity
        self._database = database
        self._stored: dict[UUID, Kept] = {}

    def __iter__(self) -> Iterator[Kept]:
        return iter(list(self._stored.values()))

    def __contains__(self, id_: UUID) -> bool:
        return id_ in self._stored

    async def create(self, new: New) -> Kept:
        """Create one."""
        await self._database.ping()
        values: dict[str, Any] = asdict(new)  # type: ignore[call-overload]
        now = self._database.now()
        kept = self.entity.kept(**values, id=uuid4(), created_at=now, updated_at=now)
        self._check(kept)
        self.put(kept)
        return kept

    async def get(self, id_: UUID) -> Kept:
        """Return the one with this id."""
        await self._database.ping()
        if id_ not in self:
            raise errors.NotFoundError(self.entity.name, id_)
        return self._stored[id_]

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
        await self._database.ping()
        owners = entities.owners(team, user)
        found = [
            kept
            for kept in self
            if (after is None or (kept.created_at, kept.id) < after)
            and (not search or self._matches(kept, search.lower()))
            and all(self.belongs(kept, owner, id_) for owner, id_ in owners.items())
        ]
        found.sort(key=lambda kept: (kept.created_at, kept.id), reverse=True)
        return found[:limit]

    async def update(
        self,
        id_: UUID,
        changes: Mapping[str, Any],
        *,
        version: int | None = None,  # noqa: ARG002 - only aliases have one
    ) -> Kept:
        """Replace some fields of one, and return it."""
        kept = await self.get(id_)
        if changes:
            kept = replace(kept, **changes, updated_at=self._database.now())
            self._check(kept)
            self.put(kept)
        return kept

    async def remove(self, id_: UUID) -> None:
        """Remove the one with this id, and all that belongs to it."""
        removed = await self.get(id_)
        del self._stored[removed.id]
        for collection in self._database.collections:
            for kept in collection:
                if collection.belongs(kept, self.entity.name, removed.id):
                    await collection.remove(kept.id)

    def put(self, kept: Kept) -> None:
        """Store one as it is now."""
        self._stored[kept.id] = kept

    def belongs(self, kept: Kept, owner: str, id_: UUID) -> bool:
        """Return whether one belongs to the team, or user, with this id."""
        field = self.entity.owners.get(owner)
        return field is not None and getattr(kept, field) == id_

    def _matches(self, kept: Kept, needle: str) -> bool:
        values = [getattr(kept, field) for field in self.entity.searched]
        return any(
            value.lower().startswith(needle) if isinstance(value, str) else needle in value
            for value in values
            if value is not None
        )

    def _check(self, kept: Kept) -> None:
        for field, holds in self.entity.rules.items():
            if not holds(getattr(kept, field)):
                raise errors.InvalidError(field, "breaks a rule")
        shared = [(getattr(kept, field), field) for field in self.entity.unique]
        for other in self:
            if other.id != kept.id and all(getattr(other, each) == value for value, each in shared):
                raise errors.ConflictError(self.entity.unique[-1])
        for owner, field in self.entity.owners.items():
            [owners] = [each for each in self._database.collections if each.entity.name == owner]
            if field != "id" and getattr(kept, field) not in owners:
                raise errors.InvalidReferenceError(field)


class MemoryAliases(MemoryCollection[domain.NewModelAlias, domain.ModelAlias]):
    """Keeps the aliases, with all of their versions."""

    def __init__(self, database: "MemoryDatabase") -> None:
        super().__init__(entities.ALIAS, database)
        self._versions: dict[UUID, list[domain.ModelAlias]] = {}

    async def update(
        self, id_: UUID, changes: Mapping[str, Any], *, version: int | None = None
    ) -> domain.ModelAlias:
        """Replace some fields of one as its next version, and return it."""
        alias = await self.get(id_)
        if version not in {None, alias.version}:
            raise errors.VersionConflictError(self.entity.name, version)
        return await super().update(id_, changes and {**changes, "version": alias.version + 1})

    async def routes(self, team: UUID) -> Mapping[str, domain.ModelAlias]:
        """Return a team's aliases by their names; none for a team that does not exist."""
        await self._database.ping()
        return {alias.alias: alias for alias in self if alias.team_id == team}

    async def versions(self, id_: UUID) -> Sequence[domain.ModelAlias]:
        """Return one as it is and as it was, the newest first."""
        alias = await self.get(id_)
        return self._versions[alias.id][::-1]

    def put(self, kept: domain.ModelAlias) -> None:
        """Store one as it is now."""
        super().put(kept)
        self._versions.setdefault(kept.id, []).append(kept)


class MemoryUsers(MemoryCollection[domain.NewUser, domain.User]):
    """Keeps the users, and the sessions that they have open."""

    def __init__(self, database: "MemoryDatabase") -> None:
        super().__init__(entities.USER, database)
        self._sessions: dict[str, domain.Session] = {}

    async def update(
        self, id_: UUID, changes: Mapping[str, Any], *, version: int | None = None
    ) -> domain.User:
        """Replace some fields of one, and return it."""
        user = await super().update(id_, changes, version=version)
        if "password_hash" in changes:
            self._sessions = {h: s for h, s in self._sessions.items() if s.user_id != id_}
            for key in self._database.keys:
                if user.password_hash is None and key.user_id == id_ and not key.revoked_at:
                    self._database.keys.put(replace(key, revoked_at=self._database.now()))
        return user

    async def by_email(self, email: str) -> domain.User:
        """Return the user with this email."""
        await self._database.ping()
        for user in self:
            if user.email == email:
                return user
        raise errors.NotFoundError(self.entity.name, email)

    async def open_session(
        self, session: domain.Session, password_hash: str, now: datetime
    ) -> None:
        """Store a session, and forget those that have expired."""
        user = await self.get(session.user_id)
        if user.password_hash != password_hash:
            raise errors.NotFoundError(self.entity.name, "with this password")
        self._sessions = {h: each for h, each in self._sessions.items() if each.expires_at > now}
        self._sessions[session.hash] = session

    async def session(self, hash_: str) -> tuple[domain.Session, domain.User]:
        """Return a session and whose it is, be it expired."""
        await self._database.ping()
        if hash_ not in self._sessions:
            raise errors.NotFoundError("session", "with this hash")
        session = self._sessions[hash_]
        return session, await self.get(session.user_id)

    async def end_session(self, hash_: str) -> None:
        """End a session."""
        await self._database.ping()
        self._sessions.pop(hash_, None)


class MemoryDatabase:
    """Keeps teams and all that belongs to them in dicts.

    No method awaits anything that takes time, so each is atomic, as a transaction is.
    """

    def __init__(self, clock: ports.Clock | None = None) -> None:
        self.down = False
        """Set it, and every call fails as it does when the server is gone."""
        self._clock = clock
        self._last = datetime.min.replace(tzinfo=UTC)
        self.teams = MemoryCollection(entities.TEAM, self)
        self.users = MemoryUsers(self)
        self.keys = MemoryCollection(entities.API_KEY, self)
        self.aliases = MemoryAliases(self)
        self.quotas = MemoryCollection(entities.QUOTA, self)
        self.spending = MemorySpending(self)
        self.unreadable = False
        """Set it, and what is stored is no config, until the next is added."""
        self._config = domain.Config()
        self._sessions: dict[str, domain.Session] = {}
        self.collections: list[MemoryCollection[Any, Any]] = [
            self.teams,
            self.users,
            self.keys,
            self.aliases,
            self.quotas,
        ]

    async def register(self, team: domain.NewTeam, email: str, password_hash: str) -> domain.User:
        """Create a team and its first user, an admin of it: both or neither."""
        created = await self.teams.create(team)
        admin = domain.NewUser(
            team_id=created.id, email=email, role="admin", password_hash=password_hash
        )
        try:
            return await self.users.create(admin)
        except errors.ConflictError:
            await self.teams.remove(created.id)
            raise

    async def config(self) -> domain.Config:
        """Return the newest config; the default one if there is none."""
        await self.ping()
        if self.unreadable:
            raise errors.UnreadableError("config")
        return self._config

    async def add_config(self, config: domain.Config) -> domain.Config:
        """Store a config, and return it with a version greater than all others."""
        await self.ping()
        self.unreadable = False
        self._config = replace(config, version=self._config.version + 1)
        return self._config

    async def grant(self, key_hash: str) -> ports.Grant:
        """Return what the key with this hash gives access to, be it expired or revoked."""
        await self.ping()
        for key in self.keys:
            if key.hash == key_hash:
                limits = [quota.limits for quota in self.quotas if quota.team_id == key.team_id]
                return ports.Grant(key, limits[0] if limits else None)
        raise errors.NotFoundError(entities.API_KEY.name, "with this hash")

    async def ping(self) -> None:
        """Return unless `down` is set."""
        if self.down:
            raise errors.UnavailableError("memory")

    def now(self) -> datetime:
        """Return the time, never twice the same: two calls can fall into one tick of the clock."""
        now = self._clock.now() if self._clock else datetime.now(UTC)
        self._last = max(now, self._last + timedelta(microseconds=1))
        return self._last
