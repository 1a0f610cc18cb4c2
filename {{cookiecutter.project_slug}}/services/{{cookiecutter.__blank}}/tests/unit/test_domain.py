"""Rules for values. The kit tests those for texts, tags and JSON."""

import pytest
from pydantic import TypeAdapter, ValidationError

from {{ cookiecutter.__package }} import domain

NAME: TypeAdapter[str] = TypeAdapter(domain.{{ cookiecutter.__class }}Name)
QUANTITY: TypeAdapter[int] = TypeAdapter(domain.{{ cookiecutter.__class }}Quantity)


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (NAME, ["雪", "x" * domain.NAME_LENGTH], ["", "a\0b", "x" * (domain.NAME_LENGTH + 1)]),
        (QUANTITY, [0, domain.QUANTITY_LIMIT], [-1, domain.QUANTITY_LIMIT + 1, 1.5, True]),
    ],
)
def test_a_good_value_is_unchanged_and_a_bad_one_is_refused(
    kind: TypeAdapter[object], good: list[object], bad: list[object]
) -> None:
    assert [kind.validate_python(value) for value in good] == good
    for value in bad:
        with pytest.raises(ValidationError):
            kind.validate_python(value)
