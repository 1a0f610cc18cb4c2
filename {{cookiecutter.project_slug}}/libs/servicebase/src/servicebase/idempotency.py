"""Creation that may be tried again: one Idempotency-Key creates one thing, however often sent."""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Protocol
from uuid import UUID, uuid4

from fastapi import Header

from . import errors

IdempotencyKey = Annotated[
    str | None, Header(alias="Idempotency-Key", min_length=1, max_length=255)
]


@dataclass(frozen=True, slots=True)
class Claim:
    """What a key stands for: the id to be created, and the body that it came with."""

    id: UUID
    fingerprint: str


class IdempotencyStore(Protocol):
    """Remembers, for some time, what each key stands for; redis.py has the one for production.

    Every method raises UnavailableError when its server does not answer in time.
    """

    async def claim(self, key: str, claim: Claim) -> Claim:
        """Return the earlier claim of `key`; if there is none, make this one, and return it.

        Of claims at the same time exactly one is made, and all callers get that one.
        """
        ...

    async def ping(self) -> None:
        """Return if the server answers."""
        ...


class MemoryIdempotency:
    """Keeps claims in a dict, for as long as it lives: for tests and for a first look."""

    def __init__(self) -> None:
        self.down = False
        """Set it, and every call fails as it does when the server is gone."""
        self._claims: dict[str, Claim] = {}

    async def claim(self, key: str, claim: Claim) -> Claim:
        """Return the earlier claim of `key`, or make this one."""
        await self.ping()
        return self._claims.setdefault(key, claim)

    async def ping(self) -> None:
        """Return unless `down` is set."""
        if self.down:
            raise errors.UnavailableError("memory")


async def id_for(store: IdempotencyStore, key: str | None, new: Any) -> UUID:
    """Return the id of what is to be created: the one that `key` stands for, else a fresh one.

    Creation is idempotent by id, so that a retry ends with the one that the first attempt meant,
    whichever step of that one failed. (A retry after a delete creates it once more.)

    Args:
        store: what remembers keys; it is not asked if there is none.
        key: the client's.
        new: a dataclass, what is to be created.

    Raises:
        KeyReusedError: the key came with another body before.
        UnavailableError: the store does not answer.
    """
    fresh = uuid4()
    if key is None:
        return fresh
    canonical = json.dumps(asdict(new), sort_keys=True)
    mine = Claim(fresh, hashlib.sha256(canonical.encode()).hexdigest())
    claim = await store.claim(key, mine)
    if claim.fingerprint != mine.fingerprint:
        raise errors.KeyReusedError
    return claim.id
