"""Repository of entities: the port, and its adapter in memory.

postgres_repository.py has the adapter for production. tests/contracts tests both alike.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar
from uuid import UUID

from . import errors
from .pagination import Position

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Where = Mapping[str, object]
"""Required values, by field."""
NOTHING: Where = MappingProxyType({})


@dataclass(frozen=True, kw_only=True)
class Entity:
    """Base of stored entities; a subclass adds the fields that its creator sets."""

    id: UUID
    created_at: datetime
    updated_at: datetime


New = TypeVar("New", bound="DataclassInstance")
New_contra = TypeVar("New_contra", bound="DataclassInstance", contravariant=True)
Found = TypeVar("Found", bound=Entity)
Found_co = TypeVar("Found_co", bound=Entity, covariant=True)
Changes = TypeVar("Changes", bound=Mapping[str, object])
Changes_contra = TypeVar("Changes_contra", bound=Mapping[str, object], contravariant=True)


class Repository(Protocol[New_contra, Found_co, Changes_contra]):
    """Repository of all entities of one kind.

    Every method raises UnavailableError when its server does not answer in time.
    """

    async def add(self, id_: UUID, new: New_contra) -> Found_co:
        """Create an entity, or return the existing one with this id, whatever `new` holds.

        Raises:
            ConflictError: another one has a value that must be unique.
        """

    async def get(self, id_: UUID) -> Found_co:
        """Return the entity with this id.

        Raises:
            NotFoundError: it does not exist.
        """

    async def page(
        self, *, limit: int, after: Position | None = None, search: str = "", where: Where = NOTHING
    ) -> Sequence[Found_co]:
        """Return at most `limit` entities after a position.

        `search` and `where` filter them: by text, and by values of their fields.
        """

    async def update(self, id_: UUID, changes: Changes_contra) -> Found_co:
        """Replace some fields of an entity, each as a whole, and return it.

        Raises:
            ConflictError: another one has a value that must be unique.
            NotFoundError: it does not exist.
        """

    async def remove(self, id_: UUID) -> None:
        """Remove the entity with this id.

        Raises:
            NotFoundError: it does not exist.
        """

    async def ping(self) -> None:
        """Check that the server answers."""


class MemoryRepository(Generic[New, Found, Changes]):
    """Repository in a dict: small and working, for tests and for a first look.

    No method awaits anything, so each is atomic, like a transaction. A subclass sets the entity
    and implements search.
    """

    kind: type[Found]
    name: str
    """Name of the entity in errors."""
    unique: tuple[str, ...] = ()
    """Fields whose values must be unique."""

    def __init__(self) -> None:
        self.down = False
        """Set it to make every call fail, as when the server is down."""
        self._stored: dict[UUID, Found] = {}
        self._last = datetime.min.replace(tzinfo=UTC)

    @abstractmethod
    def matches(self, found: Found, search: str) -> bool:
        """Return whether an entity matches `search`, which is in lower case."""

    async def add(self, id_: UUID, new: New) -> Found:
        """Create an entity, or return the existing one with this id."""
        await self.ping()
        if id_ in self._stored:
            return self._stored[id_]
        now = self._now()
        values: dict[str, Any] = {"id": id_, "created_at": now, "updated_at": now}
        return self._store(self.kind(**asdict(new), **values))

    async def get(self, id_: UUID) -> Found:
        """Return the entity with this id."""
        await self.ping()
        if id_ not in self._stored:
            raise errors.NotFoundError(self.name, id_)
        return self._stored[id_]

    async def page(
        self, *, limit: int, after: Position | None = None, search: str = "", where: Where = NOTHING
    ) -> Sequence[Found]:
        """Return at most `limit` entities after a position."""
        await self.ping()
        found = [
            each
            for each in self._stored.values()
            if (after is None or (each.created_at, each.id) < after)
            and (not search or self.matches(each, search.lower()))
            and all(getattr(each, field) == value for field, value in where.items())
        ]
        found.sort(key=lambda each: (each.created_at, each.id), reverse=True)
        return found[:limit]

    async def update(self, id_: UUID, changes: Changes) -> Found:
        """Replace some fields of an entity, and return it."""
        found = await self.get(id_)
        if not changes:
            return found
        return self._store(replace(found, **changes, updated_at=self._now()))

    async def remove(self, id_: UUID) -> None:
        """Remove the entity with this id."""
        await self.get(id_)
        del self._stored[id_]

    async def ping(self) -> None:
        """Raise UnavailableError if `down` is set."""
        if self.down:
            raise errors.UnavailableError("memory")

    def _store(self, new: Found) -> Found:
        for field in self.unique:
            value = getattr(new, field)
            for other in self._stored.values():
                if other.id != new.id and getattr(other, field) == value:
                    raise errors.ConflictError(field)
        self._stored[new.id] = new
        return new

    def _now(self) -> datetime:
        # Always increasing: two calls can fall into one tick of the clock.
        self._last = max(datetime.now(UTC), self._last + timedelta(microseconds=1))
        return self._last
