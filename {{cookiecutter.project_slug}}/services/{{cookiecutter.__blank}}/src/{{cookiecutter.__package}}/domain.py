"""Domain model of {{ cookiecutter.__resources }}, with the rules for values. No I/O.

Imports modules, not names, so that no class of this file can shadow one of theirs.
"""

import dataclasses
import typing

import pydantic

from servicebase import repository, values

NAME_LENGTH = 200
QUANTITY_LIMIT = 2**31 - 1  # of PostgreSQL's integer

{{ cookiecutter.__class }}Name = typing.Annotated[str, values.Text(NAME_LENGTH)]
{{ cookiecutter.__class }}Quantity = typing.Annotated[
    int,
    pydantic.Strict(),
    pydantic.Field(ge=0, le=QUANTITY_LIMIT),
]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class New{{ cookiecutter.__class }}:
    """Fields set by the creator."""

    name: str
    quantity: int = 0
    tags: tuple[str, ...] = ()
    attributes: dict[str, object] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class {{ cookiecutter.__class }}(New{{ cookiecutter.__class }}, repository.Entity):
    """Stored {{ cookiecutter.resource }}. Not validated again: old ones outlive new rules."""


class {{ cookiecutter.__class }}Changes(typing.TypedDict, total=False):
    """Fields to replace; missing ones stay unchanged."""

    name: str
    quantity: int
    tags: tuple[str, ...]
    attributes: dict[str, object]
