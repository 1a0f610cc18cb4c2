"""The contract of `IdempotencyStore`, for the fake and the real one alike."""

import asyncio
from uuid import UUID, uuid4

import pytest

from servicebase.idempotency import Claim, IdempotencyStore


async def test_the_first_claim_of_a_key_is_made(idempotency: IdempotencyStore) -> None:
    claim = Claim(UUID(int=7), "print")
    assert await idempotency.claim("key", claim) == claim


async def test_a_later_claim_of_a_key_gets_the_first(idempotency: IdempotencyStore) -> None:
    first = Claim(UUID(int=7), "print")
    await idempotency.claim("key", first)
    assert await idempotency.claim("key", Claim(UUID(int=8), "other")) == first
    assert await idempotency.claim("key", first) == first


async def test_keys_do_not_know_of_each_other(idempotency: IdempotencyStore) -> None:
    claims = {key: Claim(uuid4(), key) for key in ("a", "A", "a ", "a:b")}
    for key, claim in claims.items():
        await idempotency.claim(key, claim)
    for key, claim in claims.items():
        assert await idempotency.claim(key, Claim(uuid4(), "late")) == claim


@pytest.mark.parametrize("key", ["*", "with blanks", "\x00\n", "naïve", "k" * 255])
async def test_any_text_is_a_key(idempotency: IdempotencyStore, key: str) -> None:
    claim = Claim(UUID(int=7), "print")
    await idempotency.claim(key, claim)
    assert await idempotency.claim(key, Claim(UUID(int=8), "print")) == claim


async def test_all_who_claim_a_key_at_once_get_the_same(idempotency: IdempotencyStore) -> None:
    claims = [Claim(uuid4(), "print") for _ in range(20)]
    given = await asyncio.gather(*(idempotency.claim("key", claim) for claim in claims))
    assert len(set(given)) == 1
    assert given[0] in claims


async def test_a_server_that_is_there_answers(idempotency: IdempotencyStore) -> None:
    await idempotency.ping()
