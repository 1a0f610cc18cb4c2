"""API keys: what they look like, and what is kept of them."""

from hypothesis import given
from hypothesis import strategies as st

from gateway import accounts

KEYS = accounts.Keys("secret")
TEXT = st.text(st.characters(exclude_categories=["Cs"]))


def test_a_key_carries_32_random_bytes_and_fits_in_a_header() -> None:
    key = KEYS.issue().secret
    assert key.startswith("sk-")
    assert len(key) == len("sk-") + 43
    assert key.replace("-", "").replace("_", "").isalnum()


def test_no_two_keys_are_alike() -> None:
    issued = [KEYS.issue() for _ in range(100)]
    assert len({each.secret for each in issued}) == len({each.hash for each in issued}) == 100


def test_of_a_key_only_the_beginning_is_kept_readable() -> None:
    issued = KEYS.issue()
    assert issued.secret.startswith(issued.prefix)
    assert len(issued.prefix) == 11
    assert issued.hash == KEYS.hash(issued.secret)


def test_a_key_is_in_no_log() -> None:
    issued = KEYS.issue()
    assert issued.secret not in repr(issued)
    assert issued.hash not in repr(issued)


def test_a_hash_is_worth_nothing_without_the_secret() -> None:
    hashes = {
        kind.hash("x") for kind in (KEYS, accounts.Keys("another"), accounts.Tokens("secret"))
    }
    assert len(hashes) == 3


def test_what_is_derived_for_one_purpose_tells_nothing_of_another() -> None:
    derived = {accounts.derive("secret", label) for label in ("a", "b")}
    assert len(derived) == 2
    assert all(len(each) == 32 for each in derived)


@given(TEXT)
def test_any_text_can_be_tried_as_a_key(text: str) -> None:
    assert len(KEYS.hash(text)) == 64


@given(TEXT, TEXT)
def test_secrets_are_the_same_only_if_they_are_equal(shown: str, known: str) -> None:
    assert accounts.same(known, known)
    assert accounts.same(shown, known) == (shown == known)
