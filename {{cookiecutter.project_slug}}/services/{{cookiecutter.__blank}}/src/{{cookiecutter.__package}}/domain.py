"""What one {{ cookiecutter.resource }} is, and which values are good. No I/O.

Imports modules, not names, so that a class of this file can never hide one of theirs.
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
    """What the creator of one decides."""

    name: str
    quantity: int = 0
    tags: tuple[str, ...] = ()
    attributes: dict[str, object] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class {{ cookiecutter.__class }}(New{{ cookiecutter.__class }}, repository.Entity):
    """One that exists. Not checked again, so that older ones outlive stricter rules."""


class {{ cookiecutter.__class }}Changes(typing.TypedDict, total=False):
    """The fields to replace; those that are missing stay as they are."""

    name: str
    quantity: int
    tags: tuple[str, ...]
    attributes: dict[str, object]
