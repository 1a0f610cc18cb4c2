"""The contract of `IdempotencyStore`, for the fake and the real one alike."""

import asyncio
from uuid import UUID, uuid4

import pytest

from servicebase.idempotency import Claim, IdempotencyStore
from stratakit.testing import contracts

idempotency = contracts.adapters("memory_idempotency", "redis_idempotency")
FIRST = Claim(UUID(int=7), "print")


@pytest.mark.parametrize("key", ["key", "*", "with blanks", "\x00\n", "naïve", "k" * 255])
async def test_whoever_claims_a_key_later_gets_the_first_claim(
    idempotency: IdempotencyStore, key: str
) -> None:
    await idempotency.ping()
    for claim in (FIRST, Claim(UUID(int=8), "other"), FIRST):
        assert await idempotency.claim(key, claim) == FIRST


async def test_keys_do_not_know_of_each_other(idempotency: IdempotencyStore) -> None:
    claims = {key: Claim(uuid4(), key) for key in ("a", "A", "a ", "a:b")}
    for key, claim in claims.items():
        assert await idempotency.claim(key, claim) == claim


async def test_all_who_claim_a_key_at_once_get_the_same(idempotency: IdempotencyStore) -> None:
    claims = [Claim(uuid4(), "print") for _ in range(20)]
    given = await asyncio.gather(*(idempotency.claim("key", claim) for claim in claims))
    assert len(set(given)) == 1
    assert given[0] in claims
