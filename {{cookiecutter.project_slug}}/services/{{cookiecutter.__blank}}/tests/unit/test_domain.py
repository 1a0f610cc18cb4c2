"""The rules, value by value. Those of texts, tags and JSON are the kit's, and tested there."""

import pytest
from pydantic import TypeAdapter, ValidationError

from {{ cookiecutter.__package }} import domain

NAME: TypeAdapter[str] = TypeAdapter(domain.{{ cookiecutter.__class }}Name)
QUANTITY: TypeAdapter[int] = TypeAdapter(domain.{{ cookiecutter.__class }}Quantity)


@pytest.mark.parametrize("name", ["x", "lamp", "x" * domain.NAME_LENGTH, "雪", "a/b", "👩‍🚀"])
def test_a_good_name_stays_as_it_is(name: str) -> None:
    assert NAME.validate_python(name) == name


@pytest.mark.parametrize("quantity", [0, 1, domain.QUANTITY_LIMIT])
def test_a_good_quantity_stays_as_it_is(quantity: int) -> None:
    assert QUANTITY.validate_python(quantity) == quantity


@pytest.mark.parametrize("name", ["", "x" * (domain.NAME_LENGTH + 1), "a\0b"])
def test_a_bad_name_is_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        NAME.validate_python(name)


@pytest.mark.parametrize("quantity", [-1, domain.QUANTITY_LIMIT + 1, 1.5, True])
def test_a_bad_quantity_is_refused(quantity: object) -> None:
    with pytest.raises(ValidationError):
        QUANTITY.validate_python(quantity)
