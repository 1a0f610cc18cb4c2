"""The rules that are not pydantic's or servicebase's, value by value."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import domain, errors

# Any code point, good or not. (st.text would spend a second on tables of Unicode.)
TEXT = st.lists(st.integers(0, 0x10FFFF).map(chr), max_size=30).map("".join)
LONG = "a" * 250


@pytest.mark.parametrize("email", ["a@b.c", "ann+x@mail.example.org", "é@example.org"])
def test_a_good_email_is_trimmed_and_has_one_case(email: str) -> None:
    assert domain.check_email(f" {email.upper()}\n") == domain.check_email(email) == email


NO_EMAILS = [
    *("", "ann", "@example.org", "ann@", "ann@host", "a b@example.org", "a@b@example.org"),
    *("a\0@example.org", "\ud800@example.org", "ann@exam_ple.org", "a@.org", f"{LONG}@b.cd"),
]


@pytest.mark.parametrize("email", NO_EMAILS)
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
