"""Types for pydantic, of values that PostgreSQL must store and return unchanged."""

import json
import math
import unicodedata
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, JsonValue
from pydantic_core import core_schema

TAG_COUNT = 20
JSON_BYTES = 16_384
JSON_DEPTH = 16


def canonical(text: str) -> str:
    """Return the canonical form of a text: NFC, trimmed."""
    return unicodedata.normalize("NFC", text).strip()


def is_typed(text: str) -> bool:
    """Return whether a text has no control characters and no lone surrogates."""
    # Cc includes NUL, which PostgreSQL cannot store; Cs are lone surrogates, not UTF-8.
    return not any(unicodedata.category(character) in {"Cc", "Cs"} for character in text)


@dataclass(frozen=True)
class Text:
    """Text of 1 to `most` characters, both as sent and in its canonical form.

    `Annotated[str, Text(200)]` converts it to that form, and refuses control characters.
    """

    most: int

    def __get_pydantic_core_schema__(self, *_: object) -> core_schema.CoreSchema:
        """Return pydantic's schema; a JSON schema has the lengths of the text as sent."""
        length = core_schema.str_schema(min_length=1, max_length=self.most)
        typed = core_schema.no_info_plain_validator_function(_typed)
        form = core_schema.no_info_plain_validator_function(canonical)
        return core_schema.chain_schema([length, form, length, typed])


def _typed(text: str) -> str:
    if not is_typed(text):
        raise ValueError("must not hold control characters")
    return text


def _storable(value: dict[str, JsonValue]) -> dict[str, JsonValue]:
    pending: list[tuple[object, int]] = [(value, 1)]
    while pending:
        node, depth = pending.pop()
        if depth > JSON_DEPTH:
            raise ValueError(f"must nest at most {JSON_DEPTH} levels deep")
        match node:
            case dict():
                pending += [(part, depth + 1) for pair in node.items() for part in pair]
            case list():
                pending += [(part, depth + 1) for part in node]
            case float() if not math.isfinite(node):
                raise ValueError("must hold finite numbers only")
            case str() if "\0" in node or any("\ud800" <= unit <= "\udfff" for unit in node):
                raise ValueError("must not hold NUL or lone surrogates")
    if len(json.dumps(value, ensure_ascii=False).encode()) > JSON_BYTES:
        raise ValueError(f"must be at most {JSON_BYTES} bytes of JSON")
    return value


Tag = Annotated[
    str,
    Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,49}$"),
    BeforeValidator(lambda tag: tag.strip().lower() if isinstance(tag, str) else tag),
]
Tags = Annotated[
    tuple[Tag, ...],
    Field(max_length=TAG_COUNT),
    AfterValidator(lambda tags: tuple(sorted(set(tags)))),
]
"""Tags in lower case, without duplicates, sorted."""
JsonObject = Annotated[dict[str, JsonValue], AfterValidator(_storable)]
"""Object that JSONB can hold: limited in size and depth, with finite numbers only."""
