"""The rules, value by value."""

import math
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servicebase import values
from servicebase.errors import InvalidError

# Any code point, good or not. (st.text would spend a second on tables of Unicode.)
TEXT = st.lists(st.integers(0, 0x10FFFF).map(chr), max_size=30).map("".join)


def nested(depth: int) -> dict[str, object]:
    value: dict[str, object] = {}
    for _ in range(depth - 1):
        value = {"in": value}
    return value


@pytest.mark.parametrize("text", ["x", "lamp", "x" * 30, "雪", "a/b", "👩‍🚀"])
def test_a_good_text_stays_as_it_is(text: str) -> None:
    assert values.check_text("name", text, length=30) == text


def test_a_text_is_trimmed() -> None:
    assert values.check_text("name", "  desk lamp\n", length=30) == "desk lamp"


def test_a_text_has_one_form_however_it_was_typed() -> None:
    assert values.canonical("cafe\u0301") == values.canonical(" caf\u00e9")


@pytest.mark.parametrize("text", ["", "  ", "x" * 31, "a\0b", "a\nb", "\ud800"])
def test_a_bad_text_is_refused(text: str) -> None:
    with pytest.raises(InvalidError, match="name must") as caught:
        values.check_text("name", text, length=30)
    assert caught.value.field == "name"


@given(TEXT)
def test_a_text_that_passed_passes_again_unchanged(text: str) -> None:
    try:
        name = values.check_text("name", text, length=30)
    except InvalidError:
        return
    assert values.check_text("name", name, length=30) == name
    assert unicodedata.is_normalized("NFC", name)
    assert "\0" not in name.encode().decode()


def test_tags_are_lower_case_sorted_and_unique() -> None:
    assert values.check_tags("tags", ["b", " A", "a", "b-2"]) == ("a", "b", "b-2")


@pytest.mark.parametrize("tag", ["", "-a", "a b", "é", "a\0", "x" * 51])
def test_what_is_no_tag_is_refused(tag: str) -> None:
    with pytest.raises(InvalidError, match="tags must each"):
        values.check_tags("tags", [tag])


def test_there_is_a_limit_to_the_tags() -> None:
    tags = [f"t{number}" for number in range(values.TAG_COUNT)]
    assert len(values.check_tags("tags", tags)) == values.TAG_COUNT
    with pytest.raises(InvalidError, match="tags must be at most"):
        values.check_tags("tags", [*tags, "more"])


@given(st.lists(TEXT | st.sampled_from(["a", "B", "c.1"])))
def test_tags_that_passed_pass_again_unchanged(given: list[str]) -> None:
    try:
        tags = values.check_tags("tags", given)
    except InvalidError:
        return
    assert values.check_tags("tags", tags) == tags


def test_good_json_stays_as_it_is() -> None:
    value: dict[str, object] = {"a": [1, 2.5, True, None, "x\n"], "b": {"c": {}}}
    assert values.check_json("attributes", value) is value


@pytest.mark.parametrize(
    "value",
    [math.nan, math.inf, -math.inf, "a\0b", "\udfff", ["\0"], {"\0": 1}, {"a": [{"b": math.nan}]}],
)
def test_json_that_jsonb_cannot_hold_is_refused(value: object) -> None:
    with pytest.raises(InvalidError, match="attributes must") as caught:
        values.check_json("attributes", {"key": value})
    assert caught.value.field == "attributes"


def test_json_may_nest_to_a_limit() -> None:
    values.check_json("attributes", nested(values.JSON_DEPTH))
    with pytest.raises(InvalidError, match="nest at most"):
        values.check_json("attributes", nested(values.JSON_DEPTH + 1))


def test_json_may_grow_to_a_limit_in_bytes() -> None:
    room = values.JSON_BYTES - len('{"a": ""}')
    values.check_json("attributes", {"a": "x" * room})
    with pytest.raises(InvalidError, match="bytes of JSON"):
        values.check_json("attributes", {"a": "x" * (room - 1) + "é"})
