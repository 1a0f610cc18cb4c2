"""The database in memory. The ports document its methods."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any, get_args
from uuid import UUID, uuid4

from servicebase.repository import Found, MemoryRepository, New

from gateway import domain, errors, ports
from gateway.ports import Changes

OWNERS = {"team_id": "teams", "user_id": "users"}
"""Fields with the id of an owner, and the owners' collections."""


class MemoryCollection(MemoryRepository[New, Found, Changes]):
    """Repository of one kind of entity, with owners and with PostgreSQL's constraints on values."""

    def __init__(
        self, database: "MemoryDatabase", kind: type[Found], name: str, *searched: str, unique: str
    ) -> None:
        super().__init__()
        self.database, self.kind, self.name, self.searched = database, kind, name, searched
        self.unique = (unique,) if unique else ()

    def __iter__(self) -> Iterator[Found]:
        return iter([*self._stored.values()])

    async def find(self, **where: object) -> Sequence[Found]:
        """Return the entities whose fields have these values."""
        return await self.page(limit=sys.maxsize, where=where)

    def put(self, found: Found) -> None:
        """Store an entity, unchecked."""
        self._stored[found.id] = found

    async def remove(self, id_: UUID) -> None:
        await super().remove(id_)
        for collection in self.database.collections:
            for each in collection:
                if id_ in {getattr(each, field, None) for field in OWNERS}:
                    await collection.remove(each.id)

    async def ping(self) -> None:
        await self.database.ping()

    def matches(self, found: Found, search: str) -> bool:
        values = [getattr(found, field) or "" for field in self.searched]
        return any(
            value.lower().startswith(search) if isinstance(value, str) else search in value
            for value in values
        )

    def _store(self, new: Found) -> Found:
        for field, value in asdict(new).items():
            negative = isinstance(value, int) and value < 0
            if negative or (field == "role" and value not in get_args(domain.Role)):
                raise errors.InvalidError(field, "breaks a rule")
            owners = getattr(self.database, OWNERS[field]) if field in OWNERS else ()
            if field in OWNERS and value not in {owner.id for owner in owners}:
                raise errors.InvalidReferenceError(field)
        return super()._store(new)


class MemoryAliases(MemoryCollection[domain.NewModelAlias, domain.ModelAlias]):
    """Aliases, with all of their versions."""

    def __init__(self, database: "MemoryDatabase") -> None:
        super().__init__(database, domain.ModelAlias, "alias", "alias", "tags", unique="")
        self._versions: dict[UUID, list[domain.ModelAlias]] = {}

    async def update(
        self, id_: UUID, changes: Changes, *, version: int | None = None
    ) -> domain.ModelAlias:
        alias = await self.get(id_)
        if version not in {None, alias.version}:
            raise errors.VersionConflictError("it has changed")
        return await super().update(id_, changes and {**changes, "version": alias.version + 1})

    async def routes(self, team: UUID) -> Mapping[str, domain.ModelAlias]:
        return {alias.alias: alias for alias in await self.find(team_id=team)}

    async def versions(self, id_: UUID) -> Sequence[domain.ModelAlias]:
        return self._versions[(await self.get(id_)).id][::-1]

    def _store(self, new: domain.ModelAlias) -> domain.ModelAlias:
        for each in self:
            if (each.team_id, each.alias) == (new.team_id, new.alias) and each.id != new.id:
                raise errors.ConflictError("alias")
        self._versions.setdefault(new.id, []).append(super()._store(new))
        return new


class MemoryUsers(MemoryCollection[domain.NewUser, domain.User]):
    """Users, and their sessions."""

    def __init__(self, database: "MemoryDatabase") -> None:
        super().__init__(database, domain.User, "user", "email", unique="email")
        self._sessions: dict[str, domain.Session] = {}

    async def update(self, id_: UUID, changes: Changes) -> domain.User:
        user = await super().update(id_, changes)
        if "password_hash" in changes:
            self._sessions = {h: s for h, s in self._sessions.items() if s.user_id != id_}
            if user.password_hash is None:
                keys, now = self.database.keys, self.database.clock.now()
                for key in await keys.find(user_id=id_, revoked_at=None):
                    await keys.update(key.id, {"revoked_at": now})
        return user

    async def add_session(self, session: domain.Session, password_hash: str, now: datetime) -> None:
        if (await self.get(session.user_id)).password_hash != password_hash:
            raise errors.NotFoundError(self.name, "with this password")
        self._sessions = {h: s for h, s in self._sessions.items() if s.expires_at > now}
        self._sessions[session.hash] = session

    async def session(self, hash_: str) -> tuple[domain.Session, domain.User]:
        await self.ping()
        if session := self._sessions.get(hash_):
            return session, await self.get(session.user_id)
        raise errors.NotFoundError("session", "with this hash")

    async def end_session(self, hash_: str) -> None:
        await self.ping()
        self._sessions.pop(hash_, None)


@dataclass
class _Reservation:
    team: UUID
    microcents: int
    expires_at: datetime


class MemoryDatabase(ports.Database):
    """Database in dicts. No method waits for anything, so each is as atomic as a transaction."""

    teams: MemoryCollection[domain.NewTeam, domain.Team]
    users: MemoryUsers
    keys: MemoryCollection[domain.NewApiKey, domain.ApiKey]
    aliases: MemoryAliases
    quotas: MemoryCollection[domain.NewQuota, domain.Quota]
    collections: list[MemoryCollection[Any, Any]]

    def __init__(self, clock: ports.Clock) -> None:
        self.down = False
        """Whether every call fails as if the server were down."""
        self.unreadable = False
        """Whether the stored config is invalid, until the next one is added."""
        self.clock = clock
        self._config = domain.Config()
        self.teams = MemoryCollection(self, domain.Team, "team", "name", unique="name")
        self.users = MemoryUsers(self)
        self.keys = MemoryCollection(
            self, domain.ApiKey, "API key", "name", "prefix", unique="hash"
        )
        self.aliases = MemoryAliases(self)
        self.quotas = MemoryCollection(self, domain.Quota, "quota", unique="team_id")
        self._reservations: dict[UUID, _Reservation] = {}
        self.collections = [self.teams, self.users, self.keys, self.aliases, self.quotas]

    async def register(self, team: domain.NewTeam, email: str, password_hash: str) -> domain.User:
        id_ = (await self.teams.add(uuid4(), team)).id
        admin = domain.NewUser(team_id=id_, email=email, role="admin", password_hash=password_hash)
        try:
            return await self.users.add(uuid4(), admin)
        except errors.ConflictError:
            await self.teams.remove(id_)
            raise

    async def config(self) -> domain.Config:
        await self.ping()
        if self.unreadable:
            raise errors.UnreadableError("no config")
        return self._config

    async def add_config(self, config: domain.Config) -> domain.Config:
        await self.ping()
        self.unreadable = False
        self._config = replace(config, version=self._config.version + 1)
        return self._config

    async def grant(self, key_hash: str) -> ports.Grant:
        for key in await self.keys.find(hash=key_hash):
            for quota in await self.quotas.find(team_id=key.team_id):
                limits = domain.Limits(quota.requests_per_minute, quota.tokens_per_minute)
                return ports.Grant(key, limits)
            return ports.Grant(key, None)
        raise errors.NotFoundError("API key", "with this hash")

    async def reserve(self, reservation: UUID, team: UUID, microcents: int, *, ttl: float) -> None:
        await self.ping()
        for payer in await self.teams.find(id=team):
            if payer.spent_microcents + microcents <= payer.budget_cents * domain.MICROCENTS:
                self._reservations[reservation] = _Reservation(team, microcents, self._in(ttl))
                await self._book(team, microcents)
                return
        raise errors.BudgetError("too little is left")

    async def settle(self, reservation: UUID, microcents: int) -> None:
        await self.ping()
        if ended := self._reservations.pop(reservation, None):
            await self._book(ended.team, microcents - ended.microcents)

    async def renew(self, reservations: Sequence[UUID], *, ttl: float) -> None:
        await self.ping()
        for each in self._reservations.keys() & reservations:
            self._reservations[each].expires_at = self._in(ttl)

    async def give_back(self) -> int:
        await self.ping()
        held = [each for each in self._reservations.values() if each.microcents]
        expired = [each for each in held if each.expires_at < self._in(0)]
        for each in expired:
            await self._book(each.team, -each.microcents)
            each.microcents = 0
        return len(expired)

    async def ping(self) -> None:
        """Raise UnavailableError if `down` is set."""
        if self.down:
            raise errors.UnavailableError("memory")

    def _in(self, seconds: float) -> datetime:
        return self.clock.now() + timedelta(seconds=seconds)

    async def _book(self, team: UUID, microcents: int) -> None:
        for payer in await self.teams.find(id=team):
            spent = min(max(payer.spent_microcents + microcents, 0), 2**63 - 1)
            self.teams.put(replace(payer, spent_microcents=spent))
