"""Types, with valid and invalid values."""

import math
import unicodedata
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from servicebase import values

# Any code point, valid or not. (st.text would spend a second on Unicode tables.)
TEXT = st.lists(st.integers(0, 0x10FFFF).map(chr), max_size=30).map("".join)
NAME: TypeAdapter[str] = TypeAdapter(Annotated[str, values.Text(30)])
TAGS: TypeAdapter[tuple[str, ...]] = TypeAdapter(values.Tags)
JSON: TypeAdapter[dict[str, Any]] = TypeAdapter(values.JsonObject)
MANY = [f"t{number}" for number in range(values.TAG_COUNT)]
# Too long as sent, before trimming; or in canonical form, where each U+0958 is two characters.
TOO_LONG = ("x" * 31, "\x1f" + "x" * 30, "\u0958" * 30)
ROOM = values.JSON_BYTES - len('{"a": ""}')
NO_NAMES = ("", "  ", "a\0b", "a\nb", "\ud800", 7, *TOO_LONG)
STORED = {"a": [1, 2.5, True, None, "x\n"], "b": {"c": {}}}
NOT_STORED = (
    *(math.nan, math.inf, -math.inf, "a\0b", "\udfff"),
    *(["\0"], {"\0": 1}, {"a": [{"b": math.nan}]}),
)


def nested(depth: int) -> dict[str, object]:
    value: dict[str, object] = {}
    for _ in range(depth - 1):
        value = {"in": value}
    return value


@pytest.mark.parametrize(
    ("kind", "given", "form"),
    [
        *((NAME, each, each) for each in ("x", "lamp", "x" * 30, "雪", "a/b", "👩‍🚀")),
        *((NAME, each, "caf\u00e9") for each in ("  caf\u00e9\n", "cafe\u0301")),
        (TAGS, ["b", " A", "a", "b-2"], ("a", "b", "b-2")),
        (TAGS, MANY, tuple(sorted(MANY))),
        *((JSON, each, each) for each in (STORED, nested(values.JSON_DEPTH), {"a": "x" * ROOM})),
    ],
)
def test_a_good_value_is_converted_to_its_canonical_form(
    kind: TypeAdapter[Any], given: object, form: object
) -> None:
    assert kind.validate_python(given) == form


@pytest.mark.parametrize(
    ("kind", "bad"),
    [
        *((NAME, each) for each in NO_NAMES),
        *((TAGS, [each]) for each in ("", "-a", "a b", "é", "a\0", "a\nb", "x" * 51, 7)),
        (TAGS, [*MANY, "more"]),
        *((JSON, {"key": each}) for each in NOT_STORED),
        (JSON, nested(values.JSON_DEPTH + 1)),
        (JSON, {"a": "x" * (ROOM - 1) + "é"}),
    ],
)
def test_a_bad_value_is_refused(kind: TypeAdapter[Any], bad: object) -> None:
    with pytest.raises(ValidationError):
        kind.validate_python(bad)


@given(TEXT)
def test_a_text_that_passed_passes_again_unchanged(text: str) -> None:
    try:
        name = NAME.validate_python(text)
    except ValidationError:
        return
    assert NAME.validate_python(name) == name
    assert unicodedata.is_normalized("NFC", name)
    assert "\0" not in name.encode().decode()


@given(st.lists(TEXT | st.sampled_from(["a", "B", "c.1"])))
def test_tags_that_passed_pass_again_unchanged(given: list[str]) -> None:
    try:
        tags = TAGS.validate_python(given)
    except ValidationError:
        return
    assert TAGS.validate_python(tags) == tags
