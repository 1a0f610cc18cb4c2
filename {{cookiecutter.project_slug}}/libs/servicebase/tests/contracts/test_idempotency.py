"""Contract of `IdempotencyStore`, for both the fake and the real one."""

import asyncio
from dataclasses import make_dataclass
from uuid import UUID, SafeUUID, uuid4

import pytest

from servicebase.idempotency import Claim, IdempotencyStore, id_for
from stratakit.testing import contracts

idempotency = contracts.adapters("memory_idempotency", "redis_idempotency")
FIRST = Claim(UUID(int=7), "print")


@pytest.mark.parametrize("key", ["key", "*", "with blanks", "\x00\n", "naïve", "k" * 255])
async def test_later_claims_of_a_key_get_the_first(idempotency: IdempotencyStore, key: str) -> None:
    await idempotency.ping()
    for claim in (FIRST, Claim(UUID(int=8), "other"), FIRST):
        assert await idempotency.claim(key, claim) == FIRST


async def test_keys_are_independent(idempotency: IdempotencyStore) -> None:
    claims = {key: Claim(uuid4(), key) for key in ("a", "A", "a ", "a:b")}
    for key, claim in claims.items():
        assert await idempotency.claim(key, claim) == claim


async def test_concurrent_claims_of_a_key_get_the_same(idempotency: IdempotencyStore) -> None:
    claims = [Claim(uuid4(), "print") for _ in range(20)]
    given = await asyncio.gather(*(idempotency.claim("key", claim) for claim in claims))
    assert len(set(given)) == 1
    assert given[0] in claims


@pytest.mark.parametrize("value", [FIRST.id, SafeUUID.safe, {"a", "b"}])
async def test_a_field_may_have_any_type(idempotency: IdempotencyStore, value: object) -> None:
    new = make_dataclass("New", ["value"])(value)
    created = await id_for(idempotency, "key", new)
    assert await id_for(idempotency, "key", new) == created
