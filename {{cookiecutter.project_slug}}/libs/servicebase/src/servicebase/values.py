"""Rules for values that PostgreSQL has to store and give back unchanged."""

import json
import math
import re
import unicodedata
from collections.abc import Iterable

from .errors import InvalidError

TAG_COUNT = 20
TAG_PATTERN = re.compile(r"[a-z0-9][a-z0-9._-]{0,49}")
JSON_BYTES = 16_384
JSON_DEPTH = 16


def canonical(text: str) -> str:
    """Return the one form of a text that can be typed in several: NFC, trimmed."""
    return unicodedata.normalize("NFC", text).strip()


def check_typed(field: str, value: str) -> str:
    """Return `value`.

    Raises:
        InvalidError: it holds what nobody types.
    """
    # Cc holds NUL, which PostgreSQL cannot store; Cs are halves of surrogate pairs, not UTF-8.
    if any(unicodedata.category(character) in {"Cc", "Cs"} for character in value):
        raise InvalidError(field, "must not hold control characters")
    return value


def check_text(field: str, value: str, *, length: int) -> str:
    """Return `value` in its canonical form.

    Raises:
        InvalidError: it is empty or too long, or holds a control character.
    """
    text = canonical(value)
    if not 1 <= len(text) <= length:
        raise InvalidError(field, f"must have 1 to {length} characters")
    return check_typed(field, text)


def check_tags(field: str, values: Iterable[str]) -> tuple[str, ...]:
    """Return `values` in their canonical form: lower case, each once, sorted.

    Raises:
        InvalidError: there are too many, or one of them is no tag.
    """
    tags = tuple(sorted({value.strip().lower() for value in values}))
    if len(tags) > TAG_COUNT:
        raise InvalidError(field, f"must be at most {TAG_COUNT}")
    if not all(TAG_PATTERN.fullmatch(tag) for tag in tags):
        raise InvalidError(
            field, "must each have 1 to 50 of a-z, 0-9, '.', '_' and '-', a letter or digit first"
        )
    return tags


def check_json(field: str, value: dict[str, object]) -> dict[str, object]:
    """Return `value`, which JSONB can store and give back unchanged.

    Raises:
        InvalidError: it is too large or too deep, or holds what JSON or PostgreSQL does not know.
    """
    pending: list[tuple[object, int]] = [(value, 1)]
    while pending:
        node, depth = pending.pop()
        if depth > JSON_DEPTH:
            raise InvalidError(field, f"must nest at most {JSON_DEPTH} deep")
        match node:
            case dict():
                pending += [(part, depth + 1) for pair in node.items() for part in pair]
            case list():
                pending += [(part, depth + 1) for part in node]
            case float() if not math.isfinite(node):
                raise InvalidError(field, "must hold finite numbers only")
            case str() if "\0" in node or any("\ud800" <= unit <= "\udfff" for unit in node):
                raise InvalidError(field, "must not hold NUL or lone surrogates")
    if len(json.dumps(value, ensure_ascii=False).encode()) > JSON_BYTES:
        raise InvalidError(field, f"must be at most {JSON_BYTES} bytes of JSON")
    return value
