"""The rules that are not pydantic's or servicebase's, value by value."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratakit.testing import contracts

from gateway import domain, errors

# Any code point, good or not. (st.text would spend a second on tables of Unicode.)
TEXT = st.lists(st.integers(0, 0x10FFFF).map(chr), max_size=30).map("".join)
LONG = "a" * 250


@pytest.mark.parametrize("email", ["a@b.c", "ann+x@mail.example.org", "é@example.org"])
def test_a_good_email_is_trimmed_and_has_one_case(email: str) -> None:
    for typed in (email, f" {email.upper()}\n"):
        assert domain.check_email(typed) == email


@pytest.mark.parametrize(
    "email",
    [
        *("", "ann", "@example.org", "ann@", "ann@host", "a b@example.org", "a@b@example.org"),
        *("a\0@example.org", "\ud800@example.org", "ann@exam_ple.org", "a@.org", f"{LONG}@b.cd"),
    ],
)
def test_what_is_no_email_is_refused(email: str) -> None:
    with pytest.raises(errors.InvalidError, match="email must") as caught:
        domain.check_email(email)
    assert caught.value.field == "email"


@given(TEXT.map(lambda text: f"{text}@example.org") | TEXT)
def test_an_email_that_passed_passes_again_unchanged(text: str) -> None:
    try:
        email = domain.check_email(text)
    except errors.InvalidError:
        return
    assert domain.check_email(email) == email
    assert len(email) <= domain.EMAIL_LENGTH
    assert "\0" not in email.encode().decode()


@pytest.mark.parametrize(
    ("revoked", "expires", "good"),
    [(None, None, True), (None, 1, True), (None, 0, False), (0, None, False), (0, 1, False)],
)
def test_a_key_is_good_until_it_is_revoked_or_expires(
    revoked: int | None, expires: int | None, *, good: bool
) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    times = {"revoked_at": revoked, "expires_at": expires}
    after = {name: None if n is None else now + timedelta(seconds=n) for name, n in times.items()}
    key = contracts.filled(domain.ApiKey, hash="secret", **after)
    assert key.good(now) is good
    assert "secret" not in repr(key)
