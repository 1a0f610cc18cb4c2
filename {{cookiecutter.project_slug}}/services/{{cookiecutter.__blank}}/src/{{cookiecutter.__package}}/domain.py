"""What one {{ cookiecutter.resource }} is, and which values are good. No I/O.

Imports modules, not names, so that a class of this file can never hide one of theirs.
"""

import dataclasses
import datetime as dt
import json
import math
import re
import typing
import unicodedata
import uuid
from collections import abc

from . import errors

NAME_LENGTH = 200
QUANTITY_LIMIT = 2**31 - 1  # of PostgreSQL's integer
TAG_COUNT = 20
TAG_PATTERN = re.compile(r"[a-z0-9][a-z0-9._-]{0,49}")
ATTRIBUTES_BYTES = 16_384
ATTRIBUTES_DEPTH = 16


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class New{{ cookiecutter.__class }}:
    """What the creator of one decides."""

    name: str
    quantity: int = 0
    tags: tuple[str, ...] = ()
    attributes: dict[str, object] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class {{ cookiecutter.__class }}(New{{ cookiecutter.__class }}):
    """One that exists. Not checked again, so that older ones outlive stricter rules."""

    id: uuid.UUID
    created_at: dt.datetime
    updated_at: dt.datetime


class {{ cookiecutter.__class }}Changes(typing.TypedDict, total=False):
    """The fields to replace; those that are missing stay as they are."""

    name: str
    quantity: int
    tags: tuple[str, ...]
    attributes: dict[str, object]


def canonical(text: str) -> str:
    """Return the one form of a text that can be typed in several: NFC, trimmed."""
    return unicodedata.normalize("NFC", text).strip()


def check_name(value: str) -> str:
    """Return `value` in its canonical form.

    Raises:
        InvalidError: it is empty or too long, or holds a control character.
    """
    name = canonical(value)
    if not 1 <= len(name) <= NAME_LENGTH:
        raise errors.InvalidError("name", f"must have 1 to {NAME_LENGTH} characters")
    # Cc holds NUL, which PostgreSQL cannot store; Cs are halves of surrogate pairs, not UTF-8.
    if any(unicodedata.category(character) in {"Cc", "Cs"} for character in name):
        raise errors.InvalidError("name", "must not hold control characters")
    return name


def check_quantity(value: int) -> int:
    """Return `value`.

    Raises:
        InvalidError: it is negative, or more than the database holds.
    """
    if not 0 <= value <= QUANTITY_LIMIT:
        raise errors.InvalidError("quantity", f"must be from 0 to {QUANTITY_LIMIT}")
    return value


def check_tags(values: abc.Iterable[str]) -> tuple[str, ...]:
    """Return `values` in their canonical form: lower case, each once, sorted.

    Raises:
        InvalidError: there are too many, or one of them is no tag.
    """
    tags = tuple(sorted({value.strip().lower() for value in values}))
    if len(tags) > TAG_COUNT:
        raise errors.InvalidError("tags", f"must be at most {TAG_COUNT}")
    if not all(TAG_PATTERN.fullmatch(tag) for tag in tags):
        raise errors.InvalidError(
            "tags", "must each have 1 to 50 of a-z, 0-9, '.', '_' and '-', a letter or digit first"
        )
    return tags


def check_attributes(value: dict[str, object]) -> dict[str, object]:
    """Return `value`, which JSONB can store and give back unchanged.

    Raises:
        InvalidError: it is too large or too deep, or holds what JSON or PostgreSQL does not know.
    """
    pending: list[tuple[object, int]] = [(value, 1)]
    while pending:
        node, depth = pending.pop()
        if depth > ATTRIBUTES_DEPTH:
            raise errors.InvalidError("attributes", f"must nest at most {ATTRIBUTES_DEPTH} deep")
        match node:
            case dict():
                pending += [(part, depth + 1) for pair in node.items() for part in pair]
            case list():
                pending += [(part, depth + 1) for part in node]
            case float() if not math.isfinite(node):
                raise errors.InvalidError("attributes", "must hold finite numbers only")
            case str() if "\0" in node or any("\ud800" <= unit <= "\udfff" for unit in node):
                raise errors.InvalidError("attributes", "must not hold NUL or lone surrogates")
    if len(json.dumps(value, ensure_ascii=False).encode()) > ATTRIBUTES_BYTES:
        raise errors.InvalidError("attributes", f"must be at most {ATTRIBUTES_BYTES} bytes of JSON")
    return value
