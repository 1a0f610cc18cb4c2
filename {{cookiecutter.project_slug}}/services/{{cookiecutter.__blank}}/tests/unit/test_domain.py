"""The rules, value by value. Those of texts, tags and JSON are the kit's, and tested there."""

from collections.abc import Callable

import pytest

from servicebase import errors

from {{ cookiecutter.__package }} import domain


@pytest.mark.parametrize("name", ["x", "lamp", "x" * domain.NAME_LENGTH, "雪", "a/b", "👩‍🚀"])
def test_a_good_name_stays_as_it_is(name: str) -> None:
    assert domain.check_name(name) == name


@pytest.mark.parametrize("quantity", [0, 1, domain.QUANTITY_LIMIT])
def test_a_good_quantity_stays_as_it_is(quantity: int) -> None:
    assert domain.check_quantity(quantity) == quantity


@pytest.mark.parametrize(
    ("check", "value", "message"),
    [
        (domain.check_name, "x" * (domain.NAME_LENGTH + 1), "name must have 1 to"),
        (domain.check_quantity, -1, "quantity must be from 0"),
        (domain.check_quantity, domain.QUANTITY_LIMIT + 1, "quantity must be from 0"),
        (domain.check_tags, ["a b"], "tags must each"),
        (domain.check_attributes, {"a": "\0"}, "attributes must not hold NUL"),
    ],
)
def test_a_bad_value_is_refused(check: Callable[..., object], value: object, message: str) -> None:
    with pytest.raises(errors.InvalidError, match=message):
        check(value)
