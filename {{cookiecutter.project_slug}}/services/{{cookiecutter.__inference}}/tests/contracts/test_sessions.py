"""The contract of `Sessions`, for the fake and the real one alike."""

from datetime import timedelta

import pytest

from gateway.adapters.memory.clock import MemoryClock
from gateway.ports import Sessions

SOON = timedelta(minutes=15)


async def test_a_token_that_nobody_revoked_is_not_revoked(sessions: Sessions) -> None:
    assert not await sessions.is_revoked("token")


async def test_a_revoked_token_is_revoked_until_it_expires(
    sessions: Sessions, clock: MemoryClock
) -> None:
    await sessions.revoke("token", clock.now() + SOON)
    assert await sessions.is_revoked("token")
    clock.advance(SOON.total_seconds() - 0.001)
    assert await sessions.is_revoked("token")


async def test_to_revoke_twice_is_as_good_as_once(sessions: Sessions, clock: MemoryClock) -> None:
    for _ in range(2):
        await sessions.revoke("token", clock.now() + SOON)
    assert await sessions.is_revoked("token")


async def test_a_token_that_has_expired_can_be_revoked(
    sessions: Sessions, clock: MemoryClock
) -> None:
    await sessions.revoke("token", clock.now() - timedelta(days=1))


@pytest.mark.parametrize("token", ["*", "with blanks", "a:b", "naïve", "T", "tokens"])
async def test_tokens_do_not_know_of_each_other(
    sessions: Sessions, clock: MemoryClock, token: str
) -> None:
    await sessions.revoke(token, clock.now() + SOON)
    assert await sessions.is_revoked(token)
    assert not await sessions.is_revoked("token")
