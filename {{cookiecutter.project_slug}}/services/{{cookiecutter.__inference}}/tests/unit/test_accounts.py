"""Passwords and session tokens."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Literal
from uuid import UUID

import jwt
import pytest
from argon2 import PasswordHasher
from hypothesis import given
from hypothesis import strategies as st

from gateway import accounts, domain, errors
from gateway.adapters.memory.clock import MemoryClock
from gateway.adapters.memory.sessions import MemorySessions

PASSWORD = "correct horse battery"  # pragma: allowlist secret
TTL = timedelta(minutes=15)
KEY = accounts.derive("secret", "session-tokens")
USER = domain.User(
    id=UUID(int=7),
    team_id=UUID(int=8),
    email="ann@example.org",
    created_at=datetime(2026, 1, 1, tzinfo=UTC),
    updated_at=datetime(2026, 1, 1, tzinfo=UTC),
)


def cheap(time_cost: int = 1) -> accounts.Passwords:
    return accounts.Passwords(PasswordHasher(time_cost=time_cost, memory_cost=8, parallelism=1))


@pytest.fixture
def clock() -> MemoryClock:
    return MemoryClock()


@pytest.fixture
def sessions(clock: MemoryClock) -> MemorySessions:
    return MemorySessions(clock)


@pytest.fixture
def tokens(clock: MemoryClock, sessions: MemorySessions) -> accounts.Tokens:
    return accounts.Tokens("secret", TTL, sessions=sessions, clock=clock)


def signed(claims: dict[str, object], key: bytes = KEY) -> str:
    return jwt.encode(claims, key, "HS256")


def claims(clock: MemoryClock) -> dict[str, object]:
    now = clock.now()
    return {"sub": str(USER.id), "jti": "1", "iat": now, "exp": now + TTL}


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


async def test_a_token_tells_whose_it_is_and_until_when(
    tokens: accounts.Tokens, clock: MemoryClock
) -> None:
    token, issued = tokens.issue(USER)
    assert await tokens.read(token) == issued
    assert (issued.user_id, issued.expires_at) == (USER.id, clock.now() + TTL)


async def test_a_token_is_good_until_it_expires_and_not_a_second_longer(
    tokens: accounts.Tokens, clock: MemoryClock
) -> None:
    token, _ = tokens.issue(USER)
    clock.advance(TTL.total_seconds() - 1)
    await tokens.read(token)
    clock.advance(1)
    with pytest.raises(errors.CredentialError):
        await tokens.read(token)


async def test_a_revoked_token_is_refused_and_others_are_not(tokens: accounts.Tokens) -> None:
    (token, issued), (other, _) = tokens.issue(USER), tokens.issue(USER)
    await tokens.revoke(issued)
    with pytest.raises(errors.CredentialError):
        await tokens.read(token)
    await tokens.read(other)


async def test_no_token_is_believed_while_nobody_knows_what_was_revoked(
    tokens: accounts.Tokens, sessions: MemorySessions
) -> None:
    token, _ = tokens.issue(USER)
    sessions.down = True
    with pytest.raises(errors.UnavailableError):
        await tokens.read(token)


@pytest.mark.parametrize("claim", accounts.Tokens.CLAIMS)
async def test_a_token_that_lacks_a_claim_is_refused(
    tokens: accounts.Tokens, clock: MemoryClock, claim: str
) -> None:
    lacking = {name: value for name, value in claims(clock).items() if name != claim}
    with pytest.raises(errors.CredentialError):
        await tokens.read(signed(lacking))


@pytest.mark.parametrize(
    "wrong", [{"sub": "ann"}, {"sub": 7}, {"jti": 7}, {"exp": "never"}, {"exp": 10**30}]
)
async def test_a_token_with_a_claim_that_means_nothing_is_refused(
    tokens: accounts.Tokens, clock: MemoryClock, wrong: dict[str, object]
) -> None:
    with pytest.raises(errors.CredentialError):
        await tokens.read(signed({**claims(clock), **wrong}))


async def test_a_token_of_another_secret_is_refused(
    tokens: accounts.Tokens, clock: MemoryClock
) -> None:
    await tokens.read(signed(claims(clock)))
    with pytest.raises(errors.CredentialError):
        await tokens.read(signed(claims(clock), accounts.derive("another", "session-tokens")))


@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
@pytest.mark.parametrize("algorithm", ["none", "HS512"])
async def test_a_token_does_not_choose_how_it_is_checked(
    tokens: accounts.Tokens, clock: MemoryClock, algorithm: str
) -> None:
    token = jwt.encode(claims(clock), "" if algorithm == "none" else KEY, algorithm)
    with pytest.raises(errors.CredentialError):
        await tokens.read(token)


@given(st.text(st.characters(max_codepoint=255)))
async def test_whatever_is_no_token_is_refused(text: str) -> None:
    clock = MemoryClock()
    tokens = accounts.Tokens("secret", TTL, sessions=MemorySessions(clock), clock=clock)
    with pytest.raises(errors.CredentialError):
        await tokens.read(text)
