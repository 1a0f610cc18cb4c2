"""What the service asks of the outside; adapters/ has the answers.

Every method raises UnavailableError when its server does not answer in time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol, Unpack
from uuid import UUID

from . import domain


class Position(NamedTuple):
    """A place in the order of a list: newest first, of two that are as new the greater id first."""

    created_at: datetime
    id: UUID


class Repository(Protocol):
    """Where every {{ cookiecutter.resource }} is kept. Names are unique."""

    async def add(
        self,
        id_: UUID,
        new: domain.New{{ cookiecutter.__class }},
    ) -> domain.{{ cookiecutter.__class }}:
        """Create one, or return the one that has this id already, whatever `new` says.

        Raises:
            ConflictError: another one has the name.
        """
        ...

    async def get(self, id_: UUID) -> domain.{{ cookiecutter.__class }}:
        """Return the one with this id.

        Raises:
            NotFoundError: there is none.
        """
        ...

    async def page(
        self,
        *,
        limit: int,
        after: Position | None = None,
        search: str = "",
    ) -> Sequence[domain.{{ cookiecutter.__class }}]:
        """Return at most `limit` of those that come after a position.

        `search` picks those whose name begins with it, or of which it is a tag; letter case does
        not count (beyond ASCII, as far as the database's locale knows it).
        """
        ...

    async def update(
        self,
        id_: UUID,
        **changes: Unpack[domain.{{ cookiecutter.__class }}Changes],
    ) -> domain.{{ cookiecutter.__class }}:
        """Replace some fields of one, and return it.

        Raises:
            ConflictError: another one has the name.
            NotFoundError: there is none.
        """
        ...

    async def remove(self, id_: UUID) -> None:
        """Remove the one with this id.

        Raises:
            NotFoundError: there is none.
        """
        ...

    async def ping(self) -> None:
        """Return if the server answers."""
        ...


@dataclass(frozen=True, slots=True)
class Claim:
    """What an idempotency key stands for: the id to be created, and the body that it came with."""

    id: UUID
    fingerprint: str


class IdempotencyStore(Protocol):
    """Remembers, for some time, what each idempotency key stands for."""

    async def claim(self, key: str, claim: Claim) -> Claim:
        """Return the earlier claim of `key`; if there is none, make this one, and return it.

        Of claims at the same time exactly one is made, and all callers get that one.
        """
        ...

    async def ping(self) -> None:
        """Return if the server answers."""
        ...


@dataclass(frozen=True, slots=True)
class Ports:
    """All that the service needs from outside."""

    repository: Repository
    idempotency: IdempotencyStore
