"""Values for columns, which fit the column's type and satisfy its checks.

A value depends only on the seed, the column and the row number, so the order of tests or calls
does not change it. Two rows of a table differ in every column whose domain is large enough.
"""

import datetime as dt
import math
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from hashlib import blake2s
from typing import Any, TypeAlias

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.dialects.postgresql.ranges import MultiRange

from .checks import DIALECT, ColumnConstraints, literal
from .texts import text

EXAMPLE = "example"
"""Key of a column's `info`: a valid value, or a function of the row number that returns one."""

NONE_LEFT = "its checks leave no value"
SMALL_DOMAIN = 2**12
"""Size below which the values of a domain are enumerated."""
_STRIDE = 4099
"""A prime above SMALL_DOMAIN, so that repeated steps reach every value of a small domain."""
LARGE_DOMAIN = 2**21
"""Size from which a domain has room for distinct rows of different tests."""

Type: TypeAlias = sa.types.TypeEngine[Any]

_EPOCH = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
_MICROSECOND = dt.timedelta(microseconds=1)
_MINUTE = 60_000_000
_DAY = 24 * 60 * _MINUTE
_CENTURY = 36_525 * _DAY


class NoValueError(ValueError):
    """Error for a column whose type and checks allow no value, or whose type is unsupported."""


@dataclass(frozen=True, slots=True)
class ColumnContext:
    """Context of a value: one column of one row."""

    column: sa.Column[Any]
    demand: ColumnConstraints
    unique: bool
    """Whether the value must be unique, and so differ from those of other tests, too."""
    seed: str
    number: int
    """Number of the row in its table, from 1."""
    attempt: int = 0
    """Number of values rejected so far."""

    def digest(self, *words: object) -> int:
        """Return 128 bits that depend on the seed, the column and `words`."""
        text = "\0".join(map(str, (self.seed, self.column, *words)))
        return int.from_bytes(blake2s(text.encode(), digest_size=16).digest())

    def pick(self, values: Sequence[Any]) -> Any:
        """Return one of several values, in turn by row number.

        Raises:
            NoValueError: there are no values.
        """
        if not values:
            raise NoValueError(NONE_LEFT)
        return values[(self.number - 1) % len(values)]

    def another(self) -> "ColumnContext":
        """Return the context of the next attempt, unlike the first attempts of other rows."""
        return replace(self, number=self.number + _STRIDE, attempt=self.attempt + 1)


@dataclass(frozen=True, slots=True)
class OrderedDomain:
    """Ordered type whose values map to integers, in which bounds and steps are computed."""

    number: Callable[[Any], Decimal]
    value: Callable[[int], Any]
    low: int
    high: int
    start: int = 1
    """Number of the first row, if it is allowed."""
    step: int = 1
    """Step from one row to the next, if there is room."""

    def choose(self, demand: ColumnConstraints, index: int, offset: int = 0) -> Any | None:
        """Return the value of the row with this index (from 0), or None if no value is allowed.

        Args:
            demand: requirements on the value.
            index: the index; values are distinct as long as there are enough.
            offset: offset that is added to the index in a large domain.
        """
        low, high = self._range(demand)
        excluded = {self.number(each) for each in demand.excluded}
        numbers: Sequence[int] | None = None
        if demand.choices is not None:
            numbers = [int(self.number(each)) for each in demand.choices]
        elif high - low < SMALL_DOMAIN:
            numbers = range(low, high + 1)
        if numbers is None:
            index += offset if high - low >= LARGE_DOMAIN else 0
            while (number := self._stride(low, high, index)) in excluded:
                index += SMALL_DOMAIN
            return self.value(number)
        allowed = [each for each in numbers if low <= each <= high and each not in excluded]
        first = next((i for i, each in enumerate(allowed) if each >= self.start), 0)
        return self.value(allowed[(first + index) % len(allowed)]) if allowed else None

    def _range(self, demand: ColumnConstraints) -> tuple[int, int]:
        low, high = self.low, self.high
        for bound, strict in demand.low:
            number = self.number(bound)
            low = max(low, math.floor(number) + 1 if strict else math.ceil(number))
        for bound, strict in demand.high:
            number = self.number(bound)
            high = min(high, math.ceil(number) - 1 if strict else math.floor(number))
        return low, high

    def _stride(self, low: int, high: int, index: int) -> int:
        """Return a number counting up from the start, or down from the maximum if that is lower."""
        if self.start > high:
            number = (high // self.step - index) * self.step
        else:
            number = (-(-max(low, self.start) // self.step) + index) * self.step
        return number if low <= number <= high else low + index


def value(slot: ColumnContext) -> Any:
    """Return the value of a column in a row.

    Raises:
        NoValueError: no value is allowed, or the type is unsupported.
    """
    if EXAMPLE in slot.column.info:
        example = slot.column.info[EXAMPLE]
        return example(slot.number) if callable(example) else example
    return _of_type(slot.column.type, slot)


def _of_type(type_: Type, slot: ColumnContext) -> Any:
    if isinstance(type_, sa.types.TypeDecorator) and not isinstance(type_, sa.Interval):
        # Convert to the Python value, as if loaded from the database.
        stored = _of_type(type_.load_dialect_impl(DIALECT), slot)
        try:
            return type_.process_result_value(stored, DIALECT)
        except NotImplementedError:
            return stored
    plain = in_postgresql(type_)
    if ordered := ordered_domain(plain):
        offset = slot.digest() % (LARGE_DOMAIN // 2) if slot.unique else 0
        chosen = ordered.choose(slot.demand, slot.number - 1, offset)
        if chosen is None:
            raise NoValueError(NONE_LEFT)
        return chosen
    for known, make in _MAKERS:
        if isinstance(plain, known):
            return make(plain, slot)
    raise NoValueError(f"no value of the type {type_!r} can be generated")


def ordered_domain(type_: Type) -> OrderedDomain | None:
    """Return the ordered domain of a type, or None if it has no order."""
    return next((make(type_) for known, make in _ORDERED if isinstance(type_, known)), None)


def in_postgresql(type_: Type) -> Type:
    """Return the PostgreSQL variant of a type; an enum is returned as it is, with its members."""
    return type_ if isinstance(type_, sa.Enum) else type_.dialect_impl(DIALECT)


def label(column: sa.Column[Any], member: object) -> object:
    """Return the database's label of an enum member; other values are returned unchanged."""
    if isinstance(column.type, sa.Enum):
        return next((name for name, each in members(column.type) if each == member), member)
    return member


def members(type_: sa.Enum) -> list[tuple[str, Any]]:
    """Return the database labels and members of an enum."""
    return list(zip(type_.enums, type_.enum_class or type_.enums, strict=False))


def constant(column: sa.Column[Any]) -> object | None:
    """Return the default of a column if it is a constant, else None."""
    default = column.default if column.server_default is None else column.server_default
    found = getattr(default, "arg", None)
    if isinstance(found, sa.TextClause):
        found = literal(found.text)
    if callable(found) or isinstance(found, sa.ClauseElement):
        return None
    if isinstance(found, str) and not isinstance(column.type, sa.Enum):
        try:
            return _PARSERS.get(in_postgresql(column.type).python_type, str)(found)
        except (ArithmeticError, NotImplementedError, ValueError):
            return None
    return found


_PARSERS: dict[type, Callable[[str], object]] = {
    bool: lambda text: text.lower() in {"t", "true", "on", "1", "yes"},
    **{each: each for each in (int, float, Decimal, uuid.UUID)},
}
"""Parsers of defaults that are written as text, by Python type."""


def _member(type_: sa.Enum, slot: ColumnContext) -> Any:
    return slot.pick([each for name, each in members(type_) if _allowed(name, slot.demand)])


def _boolean(_: Type, slot: ColumnContext) -> bool:
    return bool(slot.pick([each for each in (False, True) if _allowed(each, slot.demand)]))


def _allowed(each: object, demand: ColumnConstraints) -> bool:
    return each not in demand.excluded and (demand.choices is None or each in demand.choices)


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


_BOUNDS: dict[str, Type] = {
    "INT4": sa.Integer(),
    "INT8": sa.BigInteger(),
    "NUM": sa.Numeric(),
    "DATE": sa.Date(),
    "TS": sa.DateTime(),
    "TSTZ": sa.DateTime(timezone=True),
}
"""Types of the bounds of a range or multirange, by the prefix of its name."""


def _range(type_: Type, slot: ColumnContext) -> pg.Range[Any]:
    name: str = type_.__visit_name__
    bounds = _BOUNDS[name.removesuffix("RANGE").removesuffix("MULTI")]
    # From one row number to the next, so that ranges of different rows do not overlap.
    inner = replace(slot, demand=ColumnConstraints())
    return pg.Range(
        _of_type(bounds, inner), _of_type(bounds, replace(inner, number=slot.number + 1))
    )


def _ranges(type_: Type, slot: ColumnContext) -> MultiRange[Any]:
    return MultiRange([_range(type_, slot)])


def _whole(bits: int) -> Callable[[Any], OrderedDomain]:
    return lambda _: OrderedDomain(Decimal, int, -(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def _decimal(type_: sa.Numeric[Any]) -> OrderedDomain:
    places = 2 if type_.scale is None else type_.scale
    limit = 10 ** (type_.precision or 12) - 1
    unit = min(10**places, limit)

    def value(number: int) -> Decimal | float:
        exact = Decimal(number).scaleb(-places)
        return exact if type_.asdecimal else float(exact)

    return OrderedDomain(
        lambda value: Decimal(value).scaleb(places), value, -limit, limit, unit, unit
    )


def _float(_: Any) -> OrderedDomain:
    return OrderedDomain(
        lambda value: Decimal(value) * 1000,
        lambda number: number / 1000,
        low=-(10**9),
        high=10**9,
        start=1000,
        step=1000,
    )


def _moment(type_: sa.DateTime) -> OrderedDomain:
    def number(value: Any) -> Decimal:
        moment = _parsed(dt.datetime, value)
        aware = moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
        return Decimal((aware - _EPOCH) // _MICROSECOND)

    def value(number: int) -> dt.datetime:
        moment = _EPOCH + number * _MICROSECOND
        return moment if type_.timezone else moment.replace(tzinfo=None)

    return OrderedDomain(number, value, -_CENTURY, _CENTURY, start=0, step=_MINUTE)


def _day(_: Any) -> OrderedDomain:
    return OrderedDomain(
        lambda value: Decimal(_parsed(dt.date, value).toordinal()),
        dt.date.fromordinal,
        low=1,
        high=dt.date.max.toordinal(),
        start=_EPOCH.toordinal(),
    )


def _time(type_: sa.Time) -> OrderedDomain:
    def number(value: Any) -> Decimal:
        time = _parsed(dt.time, value)
        moment = dt.datetime.combine(_EPOCH, time, time.tzinfo or dt.UTC)
        return Decimal((moment - _EPOCH) // _MICROSECOND)

    def value(number: int) -> dt.time:
        moment = _EPOCH + number * _MICROSECOND
        return moment.timetz() if type_.timezone else moment.time()

    return OrderedDomain(number, value, 0, _DAY - 1, start=0)


def _interval(_: Any) -> OrderedDomain:
    return OrderedDomain(
        lambda value: Decimal(value // _MICROSECOND),
        lambda number: number * _MICROSECOND,
        low=-_CENTURY,
        high=_CENTURY,
        start=_MINUTE,
        step=_MINUTE,
    )


def _parsed(of: Any, value: Any) -> Any:
    """Return a value from a check, parsed if it is a string literal there."""
    return of.fromisoformat(value) if isinstance(value, str) else value


_ORDERED: tuple[tuple[type[Type], Callable[[Any], OrderedDomain]], ...] = (
    (sa.SmallInteger, _whole(16)),
    (sa.BigInteger, _whole(64)),
    (sa.Integer, _whole(32)),
    (sa.Float, _float),
    (sa.Numeric, _decimal),
    (sa.DateTime, _moment),
    (sa.Date, _day),
    (sa.Time, _time),
    (pg.INTERVAL, _interval),
)

_MAKERS: tuple[tuple[type[Type], Callable[[Any, ColumnContext], Any]], ...] = (
    (sa.Enum, _member),
    (sa.Boolean, _boolean),
    (sa.String, text),
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
