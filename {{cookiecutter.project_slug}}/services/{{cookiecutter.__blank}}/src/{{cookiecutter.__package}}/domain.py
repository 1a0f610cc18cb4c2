"""What one {{ cookiecutter.resource }} is, and which values are good. No I/O.

Imports modules, not names, so that a class of this file can never hide one of theirs.
"""

import dataclasses
import typing
from collections import abc

from servicebase import errors, repository, values

NAME_LENGTH = 200
QUANTITY_LIMIT = 2**31 - 1  # of PostgreSQL's integer


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


def check_name(value: str) -> str:
    """Return `value` in its canonical form, or raise InvalidError."""
    return values.check_text("name", value, length=NAME_LENGTH)


def check_quantity(value: int) -> int:
    """Return `value`, which the database can hold, or raise InvalidError."""
    if not 0 <= value <= QUANTITY_LIMIT:
        raise errors.InvalidError("quantity", f"must be from 0 to {QUANTITY_LIMIT}")
    return value


def check_tags(value: abc.Iterable[str]) -> tuple[str, ...]:
    """Return `value` in its canonical form, or raise InvalidError."""
    return values.check_tags("tags", value)


def check_attributes(value: dict[str, object]) -> dict[str, object]:
    """Return `value`, which JSONB can store and give back unchanged, or raise InvalidError."""
    return values.check_json("attributes", value)
