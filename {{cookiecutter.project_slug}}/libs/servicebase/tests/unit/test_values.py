"""The rules, value by value."""

import math
import unicodedata
from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servicebase import values
from servicebase.errors import InvalidError

# Any code point, good or not. (st.text would spend a second on tables of Unicode.)
TEXT = st.lists(st.integers(0, 0x10FFFF).map(chr), max_size=30).map("".join)
TAGS = [f"t{number}" for number in range(values.TAG_COUNT)]
ROOM = values.JSON_BYTES - len('{"a": ""}')
NOT_STORED = (
    *(math.nan, math.inf, -math.inf, "a\0b", "\udfff"),
    *(["\0"], {"\0": 1}, {"a": [{"b": math.nan}]}),
)

check_text = partial(values.check_text, length=30)
check_tags, check_json = values.check_tags, values.check_json


def nested(depth: int) -> dict[str, object]:
    value: dict[str, object] = {}
    for _ in range(depth - 1):
        value = {"in": value}
    return value


@pytest.mark.parametrize("text", ["x", "lamp", "x" * 30, "雪", "a/b", "👩‍🚀"])
def test_a_good_text_stays_as_it_is(text: str) -> None:
    assert check_text("name", text) == text


@pytest.mark.parametrize("text", ["  caf\u00e9\n", "cafe\u0301"])
def test_a_text_has_one_form_however_it_was_typed(text: str) -> None:
    assert check_text("name", text) == "caf\u00e9"


def test_tags_are_lower_case_sorted_and_unique() -> None:
    assert check_tags("tags", ["b", " A", "a", "b-2"]) == ("a", "b", "b-2")
    assert len(check_tags("tags", TAGS)) == values.TAG_COUNT


def test_good_json_stays_as_it_is() -> None:
    value: dict[str, object] = {"a": [1, 2.5, True, None, "x\n"], "b": {"c": {}}}
    assert check_json("field", value) is value
    check_json("field", nested(values.JSON_DEPTH))
    check_json("field", {"a": "x" * ROOM})


@pytest.mark.parametrize(
    ("check", "bad", "says"),
    [
        *((check_text, each, "") for each in ("", "  ", "x" * 31, "a\0b", "a\nb", "\ud800")),
        *((check_tags, [each], "each") for each in ("", "-a", "a b", "é", "a\0", "x" * 51)),
        (check_tags, [*TAGS, "more"], "be at most"),
        *((check_json, {"key": each}, "") for each in NOT_STORED),
        (check_json, nested(values.JSON_DEPTH + 1), "nest at most"),
        (check_json, {"a": "x" * (ROOM - 1) + "é"}, "be at most .* bytes of JSON"),
    ],
)
def test_a_bad_value_is_refused(check: Callable[..., object], bad: object, says: str) -> None:
    with pytest.raises(InvalidError, match=f"field must {says}") as caught:
        check("field", bad)
    assert caught.value.field == "field"


@given(TEXT)
def test_a_text_that_passed_passes_again_unchanged(text: str) -> None:
    try:
        name = check_text("name", text)
    except InvalidError:
        return
    assert check_text("name", name) == name
    assert unicodedata.is_normalized("NFC", name)
    assert "\0" not in name.encode().decode()


@given(st.lists(TEXT | st.sampled_from(["a", "B", "c.1"])))
def test_tags_that_passed_pass_again_unchanged(given: list[str]) -> None:
    try:
        tags = check_tags("tags", given)
    except InvalidError:
        return
    assert check_tags("tags", tags) == tags
