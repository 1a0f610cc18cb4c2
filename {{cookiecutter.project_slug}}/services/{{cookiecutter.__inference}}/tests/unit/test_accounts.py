"""Emails, passwords and their hashes, API keys and their hashes."""

import asyncio
from collections.abc import Callable
from unittest.mock import Mock

import pytest
from argon2 import PasswordHasher
from hypothesis import given
from hypothesis import strategies as st

from gateway import accounts, domain, errors

from .conftest import HASHER

PASSWORD = "correct horse battery"  # pragma: allowlist secret
KEYS = accounts.Keys("secret")
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
# Any code point, valid or not. (st.text would spend a second on tables of Unicode.)
ANY_TEXT = st.lists(st.integers(0, 0x10FFFF).map(chr), max_size=30).map("".join)
NO_EMAILS = [
    *("", "ann", "@example.org", "ann@", "ann@host", "a b@example.org", "a@b@example.org"),
    *("a\0@example.org", "\ud800@example.org", "ann@exam_ple.org", "a@.org", f"{'a' * 250}@b.cd"),
]
NO_PASSWORDS = ["x" * 11, "x" * 257, "\0" * 12, "\ud800" * 12]


async def test_a_password_is_verified_by_a_hash_that_does_not_contain_it() -> None:
    credentials = accounts.Credentials("", HASHER)
    hashes = {await credentials.hash_password(PASSWORD) for _ in range(2)}
    assert len(hashes) == 2
    for hash_ in hashes:
        assert hash_.startswith("$argon2id$")
        assert PASSWORD not in hash_
        assert await credentials.verify(hash_, PASSWORD)
        assert not await credentials.verify(hash_, PASSWORD + "!")
        assert not HASHER.check_needs_rehash(hash_)


async def test_an_unknown_email_takes_as_long_as_a_wrong_password() -> None:
    hasher = Mock(wraps=HASHER)
    assert not await accounts.Credentials("", hasher).verify(None, PASSWORD)
    # Hashing takes as long as verifying.
    hasher.hash.assert_called_once_with(PASSWORD)


async def test_hashing_a_password_does_not_block_the_event_loop() -> None:
    slow = PasswordHasher(time_cost=20, memory_cost=8, parallelism=1)
    turns, hashing = 0, asyncio.create_task(accounts.Credentials("", slow).hash_password(PASSWORD))
    while not hashing.done():
        turns += 1
        await asyncio.sleep(0)
    assert turns > 2


@pytest.mark.parametrize("email", ["a@b.c", "ann+x@mail.example.org", "é@example.org"])
def test_a_valid_email_is_trimmed_and_lowercased(email: str) -> None:
    assert domain.check_email(f" {email.upper()}\n") == domain.check_email(email) == email


@given(ANY_TEXT.map(lambda text: f"{text}@example.org") | ANY_TEXT)
def test_normalizing_an_email_again_changes_nothing(text: str) -> None:
    try:
        email = domain.check_email(text)
    except errors.InvalidError:
        return
    assert domain.check_email(email) == email
    assert len(email) <= domain.EMAIL_LENGTH
    assert "\0" not in email.encode().decode()


@pytest.mark.parametrize(
    ("check", "field", "value"),
    [
        *((domain.check_email, "email", each) for each in NO_EMAILS),
        *((accounts.check_password, "password", each) for each in NO_PASSWORDS),
    ],
)
def test_an_invalid_email_or_password_is_refused(
    check: Callable[[str], str], field: str, value: str
) -> None:
    with pytest.raises(errors.InvalidError, match=f"{field} must") as caught:
        check(value)
    assert caught.value.field == field


def test_a_key_is_random_and_only_its_prefix_stays_readable() -> None:
    issued = [KEYS.issue() for _ in range(100)]
    assert len({each.secret for each in issued}) == len({each.hash for each in issued}) == 100
    for each in issued:
        assert each.secret.startswith("sk-")
        assert len(each.secret) == len("sk-") + 43
        assert each.secret.replace("-", "").replace("_", "").isalnum()
        assert (each.prefix, each.hash) == (each.secret[:11], KEYS.hash(each.secret))
        assert not any(hidden in repr(each) for hidden in (each.secret, each.hash))


def test_a_hash_depends_on_the_secret_and_the_purpose() -> None:
    kinds = (KEYS, accounts.Keys("another"), accounts.Keys("secret", "session-tokens"))
    assert len({kind.hash("x") for kind in kinds}) == 3


@given(TEXT, TEXT)
def test_any_text_can_be_compared_and_only_equal_secrets_match(shown: str, known: str) -> None:
    assert len(KEYS.hash(shown)) == 64
    assert accounts.same(known, known)
    assert accounts.same(shown, known) == (shown == known)
