"""The ports without servers: small, real implementations for tests and for a first look."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from typing import Unpack
from uuid import UUID

from .. import domain, errors, ports


class MemoryRepository:
    """Keeps every {{ cookiecutter.resource }} in a dict.

    No method awaits anything, so each is atomic, as a transaction is.
    """

    def __init__(self) -> None:
        self.down = False
        """Set it, and every call fails as it does when the server is gone."""
        self._stored: dict[UUID, domain.{{ cookiecutter.__class }}] = {}
        self._last = datetime.min.replace(tzinfo=UTC)

    async def add(
        self,
        id_: UUID,
        new: domain.New{{ cookiecutter.__class }},
    ) -> domain.{{ cookiecutter.__class }}:
        """Create one, or return the one that has this id already."""
        await self.ping()
        if id_ in self._stored:
            return self._stored[id_]
        self._refuse_taken(new.name)
        now = self._now()
        stored = domain.{{ cookiecutter.__class }}(
            **asdict(new),
            id=id_,
            created_at=now,
            updated_at=now,
        )
        self._stored[id_] = stored
        return stored

    async def get(self, id_: UUID) -> domain.{{ cookiecutter.__class }}:
        """Return the one with this id."""
        await self.ping()
        try:
            return self._stored[id_]
        except KeyError:
            raise errors.NotFoundError(f"there is no {{ cookiecutter.resource }} {id_}") from None

    async def page(
        self,
        *,
        limit: int,
        after: ports.Position | None = None,
        search: str = "",
    ) -> Sequence[domain.{{ cookiecutter.__class }}]:
        """Return at most `limit` of those that come after a position."""
        await self.ping()
        needle = search.lower()
        found = [
            stored
            for stored in self._stored.values()
            if (stored.name.lower().startswith(needle) or needle in stored.tags)
            and (after is None or (stored.created_at, stored.id) < after)
        ]
        found.sort(key=lambda stored: (stored.created_at, stored.id), reverse=True)
        return found[:limit]

    async def update(
        self,
        id_: UUID,
        **changes: Unpack[domain.{{ cookiecutter.__class }}Changes],
    ) -> domain.{{ cookiecutter.__class }}:
        """Replace some fields of one, and return it."""
        stored = await self.get(id_)
        if not changes:
            return stored
        if changes.get("name", stored.name) != stored.name:
            self._refuse_taken(changes["name"])
        self._stored[id_] = replace(stored, **changes, updated_at=self._now())
        return self._stored[id_]

    async def remove(self, id_: UUID) -> None:
        """Remove the one with this id."""
        await self.get(id_)
        del self._stored[id_]

    async def ping(self) -> None:
        """Return unless `down` is set."""
        if self.down:
            raise errors.UnavailableError("memory")

    def _refuse_taken(self, name: str) -> None:
        if any(stored.name == name for stored in self._stored.values()):
            raise errors.ConflictError("name")

    def _now(self) -> datetime:
        # Never twice the same: two calls can fall into one tick of the clock.
        self._last = max(datetime.now(UTC), self._last + timedelta(microseconds=1))
        return self._last


class MemoryIdempotency:
    """Keeps claims in a dict, for as long as it lives."""

    def __init__(self) -> None:
        self.down = False
        """Set it, and every call fails as it does when the server is gone."""
        self._claims: dict[str, ports.Claim] = {}

    async def claim(self, key: str, claim: ports.Claim) -> ports.Claim:
        """Return the earlier claim of `key`, or make this one."""
        await self.ping()
        return self._claims.setdefault(key, claim)

    async def ping(self) -> None:
        """Return unless `down` is set."""
        if self.down:
            raise errors.UnavailableError("memory")
