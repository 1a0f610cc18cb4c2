"""Idempotent creation: one Idempotency-Key creates one resource, however often it is sent."""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Protocol
from uuid import UUID, uuid4

from fastapi import Header
from pydantic_core import to_jsonable_python

from . import errors

IdempotencyKey = Annotated[
    str | None, Header(alias="Idempotency-Key", min_length=1, max_length=255)
]


@dataclass(frozen=True, slots=True)
class Claim:
    """Record of a key: the id to create, and a fingerprint of the body that it came with."""

    id: UUID
    fingerprint: str


class IdempotencyStore(Protocol):
    """Store of claims by key, for a limited time; redis.py has the one for production.

    Every method raises UnavailableError when its server does not answer in time.
    """

    async def claim(self, key: str, claim: Claim) -> Claim:
        """Return the existing claim of `key`; if there is none, store and return this one.

        Exactly one of several concurrent claims is stored, and all callers get it.
        """

    async def ping(self) -> None:
        """Check that the server answers."""


class MemoryIdempotency:
    """Store of claims in a dict, for tests and for a first look."""

    def __init__(self) -> None:
        self.down = False
        """Set it to make every call fail, as when the server is down."""
        self._claims: dict[str, Claim] = {}

    async def claim(self, key: str, claim: Claim) -> Claim:
        """Return the existing claim of `key`, or store this one."""
        await self.ping()
        return self._claims.setdefault(key, claim)

    async def ping(self) -> None:
        """Raise UnavailableError if `down` is set."""
        if self.down:
            raise errors.UnavailableError("memory")


async def id_for(store: IdempotencyStore, key: str | None, new: Any) -> UUID:
    """Return the id to create: the one claimed for `key`, or a new one.

    Creation is idempotent by id, so a retry ends with the resource of the first attempt, whichever
    step of that failed. (A retry after a delete creates it again.)

    Args:
        store: store of claims; not called without a key.
        key: key sent by the client.
        new: dataclass to be created.

    Raises:
        KeyReusedError: the key came with another body before.
        UnavailableError: the store does not answer.
    """
    if key is None:
        return uuid4()
    canonical = json.dumps(
        asdict(new),
        sort_keys=True,
        # JSON has no dates, enums and so on; a set has no order.
        default=lambda it: (
            sorted(map(str, it)) if isinstance(it, (set, frozenset)) else to_jsonable_python(it)
        ),
    )
    mine = Claim(uuid4(), hashlib.sha256(canonical.encode()).hexdigest())
    claim = await store.claim(key, mine)
    if claim.fingerprint != mine.fingerprint:
        raise errors.KeyReusedError
    return claim.id
