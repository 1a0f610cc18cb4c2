"""Text values that fit a column and satisfy its checks."""

import string
from collections.abc import Sequence
from typing import TYPE_CHECKING

import sqlalchemy as sa

from .conditions import pattern_parts

if TYPE_CHECKING:
    from .values import ColumnContext

_DIGITS = string.digits + string.ascii_lowercase
_TOKEN = 8
"""Length of the token that keeps a text distinct from those of other tests."""


def text(type_: sa.String, slot: "ColumnContext") -> str:
    """Return a text that fits the length limits and LIKE patterns of a column.

    Raises:
        NoValueError: no text fits.
    """
    demand = slot.demand
    if demand.choices is not None:
        return str(slot.pick([each for each in demand.choices if each not in demand.excluded]))
    longest = min(
        (each for each in (type_.length, demand.longest) if each is not None), default=None
    )
    before, after = _around(demand.like)
    fixed = len(before) + len(after)
    room = None if longest is None else max(longest - fixed, 0)
    token = f"-{_digits(slot.digest(), _TOKEN)}" if slot.unique else ""
    free = f"{slot.column.name}-{slot.number}{token}"
    if slot.attempt or (room is not None and len(free) > room):
        number = slot.number + (slot.digest() if slot.unique else 0)
        free = _digits(number, _TOKEN if room is None else min(room, slot.attempt or room))
    if demand.like and not any("%" in each for each in demand.like):
        free = ""
    made = f"{before}{free.ljust(demand.shortest - fixed, 'x')}{after}"
    return demand.case(made) if demand.case else made


def _around(patterns: Sequence[str]) -> tuple[str, str]:
    """Return the prefix and suffix that LIKE patterns require around the free part of a text."""
    before = after = ""
    # Patterns with a fixed end come last.
    for pattern in sorted(patterns, key=lambda each: not each.endswith("%")):
        free = False
        for wildcard, character in pattern_parts(pattern):
            free = free or wildcard == "%"
            added = {"%": "", "_": "x"}.get(wildcard, character)
            before, after = (before, after + added) if free else (before + added, after)
    return before, after


def _digits(number: int, length: int) -> str:
    """Return the last `length` digits of a number, in base 36."""
    digits = ""
    for _ in range(length):
        number, digit = divmod(number, len(_DIGITS))
        digits = _DIGITS[digit] + digits
    return digits
