"""A value for a column: one that its type can hold and that its checks let pass.

What it is depends on the seed, the column and the number of the row, and on nothing else, so that
no order of tests or calls changes it. Two rows of a table differ in every column that has room.
"""

import string
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2s
from typing import Any, TypeAlias

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.dialects.postgresql.ranges import MultiRange

from .checks import DIALECT
from .conditions import ColumnConstraints
from .ordered_types import LARGE_DOMAIN, scale

EXAMPLE = "example"
"""Key of a column's `info`: a value that is valid, or a function from the row's number to one."""

NONE_LEFT = "its checks leave no value"

Type: TypeAlias = sa.types.TypeEngine[Any]

_DIGITS = string.digits + string.ascii_lowercase
_TOKEN = 8


class NoValueError(ValueError):
    """The type and the checks of a column leave no value, or the type is not known here."""


@dataclass(frozen=True, slots=True)
class ColumnContext:
    """A place for a value: one column of one row."""

    column: sa.Column[Any]
    demand: ColumnConstraints
    unique: bool
    """No two rows may have the same, so it is made unlike those of other tests, too."""
    seed: str
    number: int
    """Counts the rows of the table, from 1."""

    def digest(self, *words: object) -> int:
        """Return 128 bits that depend on the seed, the column and `words`."""
        text = "\0".join(map(str, (self.seed, self.column, *words)))
        return int.from_bytes(blake2s(text.encode(), digest_size=16).digest())

    def pick(self, values: Sequence[Any]) -> Any:
        """Return one of several values, each in its turn.

        Raises:
            NoValueError: there are none.
        """
        if not values:
            raise NoValueError(NONE_LEFT)
        return values[(self.number - 1) % len(values)]


def value(slot: ColumnContext) -> Any:
    """Return the value for a place.

    Raises:
        NoValueError: there is none.
    """
    if EXAMPLE in slot.column.info:
        example = slot.column.info[EXAMPLE]
        return example(slot.number) if callable(example) else example
    return _of_type(slot.column.type, slot)


def _of_type(type_: Type, slot: ColumnContext) -> Any:
    if isinstance(type_, sa.types.TypeDecorator) and not isinstance(type_, sa.Interval):
        # As the model's users see it: as it would be loaded.
        stored = _of_type(type_.load_dialect_impl(DIALECT), slot)
        try:
            return type_.process_result_value(stored, DIALECT)
        except NotImplementedError:
            return stored
    plain = in_postgresql(type_)
    if ordered := scale(plain):
        offset = slot.digest() % (LARGE_DOMAIN // 2) if slot.unique else 0
        chosen = ordered.choose(slot.demand, slot.number - 1, offset)
        if chosen is None:
            raise NoValueError(NONE_LEFT)
        return chosen
    for known, make in _MAKERS:
        if isinstance(plain, known):
            return make(plain, slot)
    raise NoValueError(f"no value of the type {type_!r} is known here")


def in_postgresql(type_: Type) -> Type:
    """Return what a type is in PostgreSQL, of its variants; an enum keeps its members as it is."""
    return type_ if isinstance(type_, sa.Enum) else type_.dialect_impl(DIALECT)


def label(column: sa.Column[Any], member: object) -> object:
    """Return what the database calls a member of an enum; what is none is returned as it is."""
    if isinstance(column.type, sa.Enum):
        return next((name for name, each in members(column.type) if each == member), member)
    return member


def members(type_: sa.Enum) -> list[tuple[str, Any]]:
    """Return the members of an enum, with what the database calls them."""
    return list(zip(type_.enums, type_.enum_class or type_.enums, strict=False))


def _member(type_: sa.Enum, slot: ColumnContext) -> Any:
    return slot.pick([each for name, each in members(type_) if _allowed(name, slot.demand)])


def _boolean(_: Type, slot: ColumnContext) -> bool:
    return bool(slot.pick([each for each in (False, True) if _allowed(each, slot.demand)]))


def _allowed(each: object, demand: ColumnConstraints) -> bool:
    return each not in demand.excluded and (demand.choices is None or each in demand.choices)


def _text(type_: sa.String, slot: ColumnContext) -> str:
    demand = slot.demand
    if demand.choices is not None:
        return str(slot.pick([each for each in demand.choices if each not in demand.excluded]))
    longest = min(
        (each for each in (type_.length, demand.longest) if each is not None), default=None
    )
    token = f"-{_digits(slot.digest(), _TOKEN)}" if slot.unique else ""
    text = f"{slot.column.name}-{slot.number}{token}"
    if demand.like is not None:
        text = demand.like.replace("_", "x").replace("%", text)
    if longest is not None and len(text) > longest:
        text = _digits(slot.number + (slot.digest() if slot.unique else 0), longest)
    text = text.ljust(demand.shortest, "x")
    return demand.case(text) if demand.case else text


def _digits(number: int, length: int) -> str:
    """Return the last `length` digits of a number, in base 36."""
    digits = ""
    for _ in range(length):
        number, digit = divmod(number, len(_DIGITS))
        digits = _DIGITS[digit] + digits
    return digits


def _uuid(type_: sa.Uuid[Any], slot: ColumnContext) -> uuid.UUID | str:
    made = uuid.UUID(int=slot.digest(slot.number), version=4)
    return made if type_.as_uuid else str(made)


def _bytes(type_: sa.LargeBinary, slot: ColumnContext) -> bytes:
    lengths = (type_.length, slot.demand.longest)
    longest = min((each for each in lengths if each is not None), default=16)
    return slot.digest(slot.number).to_bytes(16)[:longest].ljust(slot.demand.shortest, b"\0")


def _array(type_: sa.ARRAY[Any], slot: ColumnContext) -> list[Any]:
    length = max(1, slot.demand.shortest)
    inner = replace(slot, demand=ColumnConstraints())
    items: list[Any] = [
        _of_type(type_.item_type, replace(inner, number=slot.number + i)) for i in range(length)
    ]
    for _ in range((type_.dimensions or 1) - 1):
        items = [items]
    return items[: slot.demand.longest]


def _json(_: Type, slot: ColumnContext) -> dict[str, Any]:
    return {slot.column.name: slot.number}


_RANGES: dict[type[Type], Type] = {
    pg.INT4RANGE: sa.Integer(),
    pg.INT8RANGE: sa.BigInteger(),
    pg.NUMRANGE: sa.Numeric(),
    pg.DATERANGE: sa.Date(),
    pg.TSRANGE: sa.DateTime(),
    pg.TSTZRANGE: sa.DateTime(timezone=True),
    pg.INT4MULTIRANGE: sa.Integer(),
    pg.INT8MULTIRANGE: sa.BigInteger(),
    pg.NUMMULTIRANGE: sa.Numeric(),
    pg.DATEMULTIRANGE: sa.Date(),
    pg.TSMULTIRANGE: sa.DateTime(),
    pg.TSTZMULTIRANGE: sa.DateTime(timezone=True),
}


def _range(type_: Type, slot: ColumnContext) -> pg.Range[Any]:
    bounds = next(each for known, each in _RANGES.items() if isinstance(type_, known))
    # From a row's number to the next, so that no two rows overlap.
    inner = replace(slot, demand=ColumnConstraints())
    return pg.Range(
        _of_type(bounds, inner), _of_type(bounds, replace(inner, number=slot.number + 1))
    )


def _ranges(type_: Type, slot: ColumnContext) -> MultiRange[Any]:
    return MultiRange([_range(type_, slot)])


_MAKERS: tuple[tuple[type[Type], Callable[[Any, ColumnContext], Any]], ...] = (
    (sa.Enum, _member),
    (sa.Boolean, _boolean),
    (sa.String, _text),
    (sa.Uuid, _uuid),
    (sa.LargeBinary, _bytes),
    (sa.ARRAY, _array),
    (sa.JSON, _json),
    (pg.HSTORE, lambda _, slot: {slot.column.name: str(slot.number)}),
    (pg.ranges.AbstractSingleRange, _range),
    (pg.ranges.AbstractMultiRange, _ranges),
    (pg.DOMAIN, lambda type_, slot: _of_type(type_.data_type, slot)),
    (
        pg.INET,
        lambda _, slot: (
            f"10.{slot.number >> 16 & 255}.{slot.number >> 8 & 255}.{slot.number & 255}"
        ),
    ),
    (pg.CIDR, lambda _, slot: f"10.{slot.number >> 8 & 255}.{slot.number & 255}.0/24"),
    (
        pg.MACADDR,
        lambda _, slot: f"02:00:00:00:{slot.number >> 8 & 255:02x}:{slot.number & 255:02x}",
    ),
)
