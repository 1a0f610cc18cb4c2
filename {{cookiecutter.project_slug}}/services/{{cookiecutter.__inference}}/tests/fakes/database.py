"""The database in dicts. What each method is for, the port says."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Any
from uuid import UUID, uuid4

from servicebase.repository import Found, MemoryRepository, New

from gateway import domain, errors, ports
from gateway.ports import Changes

RULES: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys(("budget_cents", "requests_per_minute", "tokens_per_minute"), (0).__le__),
    "role": {"member", "admin"}.__contains__,
}
"""What PostgreSQL asks of the values of fields."""
OWNERS = {"team_id": "teams", "user_id": "users"}


class MemoryCollection(MemoryRepository[New, Found, Changes]):
    """All of one kind, with what belongs to what, and what is asked of values."""

    def __init__(
        self, database: "MemoryDatabase", kind: type[Found], name: str, *searched: str, key: str
    ) -> None:
        super().__init__()
        self.database, self.kind, self.name, self.searched = database, kind, name, searched
        # The fields that no two may share, separated by blanks.
        self.key = key.split()

    def __iter__(self) -> Iterator[Found]:
        return iter([*self._stored.values()])

    def __contains__(self, id_: object) -> bool:
        return id_ in self._stored

    def put(self, found: Found) -> None:
        """Store one as it is now."""
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
        for field, holds in RULES.items():
            if hasattr(new, field) and not holds(getattr(new, field)):
                raise errors.InvalidError(field, "breaks a rule")
        for field, owners in OWNERS.items():
            if hasattr(new, field) and getattr(new, field) not in getattr(self.database, owners):
                raise errors.InvalidReferenceError(field)
        key = attrgetter(*self.key)
        if any(key(each) == key(new) for each in self if each.id != new.id):
            raise errors.ConflictError(self.key[-1])
        return super()._store(new)

    def _now(self) -> datetime:
        return self.database.now()


class MemoryAliases(MemoryCollection[domain.NewModelAlias, domain.ModelAlias]):
    """The aliases, with all of their versions."""

    def __init__(self, database: "MemoryDatabase") -> None:
        super().__init__(database, domain.ModelAlias, "alias", "alias", "tags", key="team_id alias")
        self._versions: dict[UUID, list[domain.ModelAlias]] = {}

    async def update(
        self, id_: UUID, changes: Changes, *, version: int | None = None
    ) -> domain.ModelAlias:
        alias = await self.get(id_)
        if version not in {None, alias.version}:
            raise errors.VersionConflictError("it has changed")
        return await super().update(id_, changes and {**changes, "version": alias.version + 1})

    async def routes(self, team: UUID) -> Mapping[str, domain.ModelAlias]:
        await self.ping()
        return {alias.alias: alias for alias in self if alias.team_id == team}

    async def versions(self, id_: UUID) -> Sequence[domain.ModelAlias]:
        return self._versions[(await self.get(id_)).id][::-1]

    def _store(self, new: domain.ModelAlias) -> domain.ModelAlias:
        self._versions.setdefault(new.id, []).append(super()._store(new))
        return new


class MemoryUsers(MemoryCollection[domain.NewUser, domain.User]):
    """The users, and the sessions that they have open."""

    def __init__(self, database: "MemoryDatabase") -> None:
        super().__init__(database, domain.User, "user", "email", key="email")
        self._sessions: dict[str, domain.Session] = {}

    def _end(self, over: Callable[[domain.Session], bool]) -> None:
        self._sessions = {hash_: s for hash_, s in self._sessions.items() if not over(s)}

    async def update(self, id_: UUID, changes: Changes) -> domain.User:
        user = await super().update(id_, changes)
        if "password_hash" in changes:
            self._end(lambda session: session.user_id == id_)
            for key in self.database.keys:
                if user.password_hash is None and key.user_id == id_ and not key.revoked_at:
                    self.database.keys.put(replace(key, revoked_at=self._now()))
        return user

    async def by_email(self, email: str) -> domain.User:
        await self.ping()
        for user in self:
            if user.email == email:
                return user
        raise errors.NotFoundError(self.name, email)

    async def add_session(self, session: domain.Session, password_hash: str, now: datetime) -> None:
        if (await self.get(session.user_id)).password_hash != password_hash:
            raise errors.NotFoundError(self.name, "with this password")
        self._end(lambda each: each.expires_at <= now)
        self._sessions[session.hash] = session

    async def session(self, hash_: str) -> tuple[domain.Session, domain.User]:
        await self.ping()
        if hash_ not in self._sessions:
            raise errors.NotFoundError("session", "with this hash")
        session = self._sessions[hash_]
        return session, await self.get(session.user_id)

    async def end_session(self, hash_: str) -> None:
        await self.ping()
        self._sessions.pop(hash_, None)


@dataclass(slots=True)
class _Reservation:
    team: UUID
    microcents: int
    expires_at: datetime


class MemorySpending:
    """Keeps what is set aside in a dict."""

    def __init__(self, database: "MemoryDatabase") -> None:
        self._database = database
        self._reservations: dict[UUID, _Reservation] = {}

    async def reserve(self, reservation: UUID, team: UUID, microcents: int, *, ttl: float) -> None:
        payer = await self._database.teams.get(team)
        if payer.spent_microcents + microcents > payer.budget_cents * domain.MICROCENTS:
            raise errors.BudgetError("too little is left")
        self._reservations[reservation] = _Reservation(team, microcents, self._expiry(ttl))
        await self._book(team, microcents)

    async def settle(self, reservation: UUID, microcents: int) -> None:
        await self._database.ping()
        if ended := self._reservations.pop(reservation, None):
            await self._book(ended.team, microcents - ended.microcents)

    async def renew(self, reservations: Sequence[UUID], *, ttl: float) -> None:
        await self._database.ping()
        for each in set(reservations) & self._reservations.keys():
            self._reservations[each].expires_at = self._expiry(ttl)

    async def give_back(self) -> int:
        await self._database.ping()
        now = self._database.now()
        expired = [e for e in self._reservations.values() if e.expires_at < now and e.microcents]
        for each in expired:
            await self._book(each.team, -each.microcents)
            each.microcents = 0
        return len(expired)

    def _expiry(self, ttl: float) -> datetime:
        return self._database.now() + timedelta(seconds=ttl)

    async def _book(self, team: UUID, microcents: int) -> None:
        if team in self._database.teams:
            payer = await self._database.teams.get(team)
            spent = min(max(payer.spent_microcents + microcents, 0), 2**63 - 1)
            self._database.teams.put(replace(payer, spent_microcents=spent))


class MemoryDatabase(ports.Database):
    """Keeps all in dicts. No method awaits anything, so each is atomic, as a transaction is."""

    teams: MemoryCollection[domain.NewTeam, domain.Team]
    users: MemoryUsers
    keys: MemoryCollection[domain.NewApiKey, domain.ApiKey]
    aliases: MemoryAliases
    quotas: MemoryCollection[domain.NewQuota, domain.Quota]

    def __init__(self, clock: ports.Clock | None = None) -> None:
        self.down = False
        """Set it, and every call fails as it does when the server is gone."""
        self.unreadable = False
        """Set it, and what is stored is no config, until the next is added."""
        self._clock = clock
        self._last = datetime.min.replace(tzinfo=UTC)
        self._config = domain.Config()
        self.teams = MemoryCollection(self, domain.Team, "team", "name", key="name")
        self.users = MemoryUsers(self)
        self.keys = MemoryCollection(self, domain.ApiKey, "API key", "name", "prefix", key="hash")
        self.aliases = MemoryAliases(self)
        self.quotas = MemoryCollection(self, domain.Quota, "quota", key="team_id")
        self.spending = MemorySpending(self)

    @property
    def collections(self) -> list[MemoryCollection[Any, Any]]:
        """Return all of them."""
        return [*(self.teams, self.users, self.keys, self.aliases, self.quotas)]

    async def register(self, team: domain.NewTeam, email: str, password_hash: str) -> domain.User:
        id_ = (await self.teams.add(uuid4(), team)).id
        admin: dict[str, Any] = {"team_id": id_, "role": "admin", "password_hash": password_hash}
        try:
            return await self.users.add(uuid4(), domain.NewUser(email=email, **admin))
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
        await self.ping()
        limits = {
            each.team_id: domain.Limits(each.requests_per_minute, each.tokens_per_minute)
            for each in self.quotas
        }
        for key in self.keys:
            if key.hash == key_hash:
                return ports.Grant(key, limits.get(key.team_id))
        raise errors.NotFoundError("API key", "with this hash")

    async def ping(self) -> None:
        if self.down:
            raise errors.UnavailableError("memory")

    def now(self) -> datetime:
        """Return the time, never twice the same: two calls can fall into one tick of the clock."""
        now = self._clock.now() if self._clock else datetime.now(UTC)
        self._last = max(now, self._last + timedelta(microseconds=1))
        return self._last
