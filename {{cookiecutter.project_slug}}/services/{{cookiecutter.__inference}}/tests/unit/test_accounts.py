"""How passwords are hashed and checked, and how many wait for it at once."""

import asyncio
from typing import Literal

import pytest
from argon2 import PasswordHasher
from hypothesis import given
from hypothesis import strategies as st

from gateway import accounts, errors

PASSWORD = "correct horse battery"  # pragma: allowlist secret


def cheap(time_cost: int = 1) -> accounts.Passwords:
    return accounts.Passwords(PasswordHasher(time_cost=time_cost, memory_cost=8, parallelism=1))


async def test_a_password_is_verified_by_its_hash() -> None:
    hash_ = await cheap().hash(PASSWORD)
    assert await cheap().verify(hash_, PASSWORD)
    assert not await cheap().verify(hash_, PASSWORD + "!")


async def test_two_hashes_of_a_password_differ_and_neither_holds_it() -> None:
    hashes = {await cheap().hash(PASSWORD) for _ in range(2)}
    assert len(hashes) == 2
    assert all(hash_.startswith("$argon2id$") and PASSWORD not in hash_ for hash_ in hashes)


async def test_where_there_is_no_password_none_is_right() -> None:
    assert not await cheap().verify(None, PASSWORD)


async def test_a_hash_is_outdated_once_new_ones_cost_more() -> None:
    hash_ = await cheap().hash(PASSWORD)
    assert not cheap().outdated(hash_)
    assert cheap(time_cost=2).outdated(hash_)
    assert await cheap(time_cost=2).verify(hash_, PASSWORD)


async def test_an_unknown_email_costs_what_a_wrong_password_costs() -> None:
    class Counting(PasswordHasher):
        worked = 0

        def hash(self, password: str | bytes, *, salt: bytes | None = None) -> str:
            self.worked += 1
            return super().hash(password, salt=salt)

        def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:  # noqa: A002 - as there
            self.worked += 1
            return super().verify(hash, password)

    hasher = Counting(time_cost=1, memory_cost=8, parallelism=1)
    known = hasher.hash(PASSWORD)
    costs = []
    for hash_ in (known, None):
        before = hasher.worked
        await accounts.Passwords(hasher).verify(hash_, "another")
        costs.append(hasher.worked - before)
    assert costs == [1, 1]


async def test_the_loop_goes_on_while_passwords_are_hashed() -> None:
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(others())
    await cheap(time_cost=20).hash(PASSWORD)
    other.cancel()
    assert turns > 1


@given(st.text(st.characters(exclude_categories=["C"]), min_size=12, max_size=14))
def test_a_password_stays_as_it_is_kept(text: str) -> None:
    password = accounts.check_password(text, least=0)
    assert accounts.check_password(password, least=0) == password


@pytest.mark.parametrize("password", ["x" * 11, "x" * 257, "\0" * 12, "\ud800" * 12])
def test_a_bad_password_is_refused(password: str) -> None:
    with pytest.raises(errors.InvalidError):
        accounts.check_password(password)


def test_a_password_is_the_same_from_every_keyboard() -> None:
    assert accounts.check_password("caf\u00e9 au lait!") == accounts.check_password(
        "cafe\u0301 au lait!"
    )
