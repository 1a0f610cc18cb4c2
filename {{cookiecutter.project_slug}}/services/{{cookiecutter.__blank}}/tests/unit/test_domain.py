"""The rules, value by value."""

import math
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from {{ cookiecutter.__package }} import domain, errors

# Any code point, good or not. (st.text would spend a second on tables of Unicode.)
TEXT = st.lists(st.integers(0, 0x10FFFF).map(chr), max_size=30).map("".join)


def nested(depth: int) -> dict[str, object]:
    value: dict[str, object] = {}
    for _ in range(depth - 1):
        value = {"in": value}
    return value


@pytest.mark.parametrize("name", ["x", "lamp", "x" * domain.NAME_LENGTH, "雪", "a/b", "👩‍🚀"])
def test_a_good_name_stays_as_it_is(name: str) -> None:
    assert domain.check_name(name) == name


def test_a_name_is_trimmed() -> None:
    assert domain.check_name("  desk lamp\n") == "desk lamp"


def test_a_name_has_one_form_however_it_was_typed() -> None:
    assert domain.check_name("cafe\u0301") == domain.check_name("caf\u00e9")


@pytest.mark.parametrize(
    "name",
    ["", "  ", "x" * (domain.NAME_LENGTH + 1), "a\0b", "a\nb", "\ud800"],
)
def test_a_bad_name_is_refused(name: str) -> None:
    with pytest.raises(errors.InvalidError, match="name must") as caught:
        domain.check_name(name)
    assert caught.value.field == "name"


@given(TEXT)
def test_a_name_that_passed_passes_again_unchanged(text: str) -> None:
    try:
        name = domain.check_name(text)
    except errors.InvalidError:
        return
    assert domain.check_name(name) == name
    assert unicodedata.is_normalized("NFC", name)
    assert "\0" not in name.encode().decode()


@pytest.mark.parametrize("quantity", [0, 1, domain.QUANTITY_LIMIT])
def test_a_good_quantity_stays_as_it_is(quantity: int) -> None:
    assert domain.check_quantity(quantity) == quantity


@pytest.mark.parametrize("quantity", [-1, domain.QUANTITY_LIMIT + 1, 10**30])
def test_a_quantity_that_the_database_cannot_hold_is_refused(quantity: int) -> None:
    with pytest.raises(errors.InvalidError, match="quantity must be from 0"):
        domain.check_quantity(quantity)


def test_tags_are_lower_case_sorted_and_unique() -> None:
    assert domain.check_tags(["b", " A", "a", "b-2"]) == ("a", "b", "b-2")


@pytest.mark.parametrize("tag", ["", "-a", "a b", "é", "a\0", "x" * 51])
def test_what_is_no_tag_is_refused(tag: str) -> None:
    with pytest.raises(errors.InvalidError, match="tags must each"):
        domain.check_tags([tag])


def test_there_is_a_limit_to_the_tags() -> None:
    tags = [f"t{number}" for number in range(domain.TAG_COUNT)]
    assert len(domain.check_tags(tags)) == domain.TAG_COUNT
    with pytest.raises(errors.InvalidError, match="tags must be at most"):
        domain.check_tags([*tags, "more"])


@given(st.lists(TEXT | st.sampled_from(["a", "B", "c.1"])))
def test_tags_that_passed_pass_again_unchanged(values: list[str]) -> None:
    try:
        tags = domain.check_tags(values)
    except errors.InvalidError:
        return
    assert domain.check_tags(tags) == tags


def test_good_attributes_stay_as_they_are() -> None:
    value: dict[str, object] = {"a": [1, 2.5, True, None, "x\n"], "b": {"c": {}}}
    assert domain.check_attributes(value) is value


@pytest.mark.parametrize(
    "value",
    [math.nan, math.inf, -math.inf, "a\0b", "\udfff", ["\0"], {"\0": 1}, {"a": [{"b": math.nan}]}],
)
def test_attributes_that_jsonb_cannot_hold_are_refused(value: object) -> None:
    with pytest.raises(errors.InvalidError, match="attributes must") as caught:
        domain.check_attributes({"key": value})
    assert caught.value.field == "attributes"


def test_attributes_may_nest_to_a_limit() -> None:
    domain.check_attributes(nested(domain.ATTRIBUTES_DEPTH))
    with pytest.raises(errors.InvalidError, match="nest at most"):
        domain.check_attributes(nested(domain.ATTRIBUTES_DEPTH + 1))


def test_attributes_may_grow_to_a_limit_in_bytes() -> None:
    room = domain.ATTRIBUTES_BYTES - len('{"a": ""}')
    domain.check_attributes({"a": "x" * room})
    with pytest.raises(errors.InvalidError, match="bytes of JSON"):
        domain.check_attributes({"a": "x" * (room - 1) + "é"})
