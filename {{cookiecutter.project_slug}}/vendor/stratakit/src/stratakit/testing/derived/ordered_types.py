"""Types whose values have an order, as whole numbers: bounds and steps are reckoned there."""

import datetime as dt
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from .conditions import ColumnConstraints

SMALL_DOMAIN = 2**12
"""So few values are counted out one by one."""
LARGE_DOMAIN = 2**21
"""So many values, and the rows of different tests can be kept apart."""

_EPOCH = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
_MICROSECOND = dt.timedelta(microseconds=1)
_MINUTE = 60_000_000
_DAY = 24 * 60 * _MINUTE
_CENTURY = 36_525 * _DAY


@dataclass(frozen=True, slots=True)
class OrderedDomain:
    """How the values of a type are numbered."""

    number: Callable[[Any], Decimal]
    value: Callable[[int], Any]
    low: int
    high: int
    start: int = 1
    """The number that rows begin at, if it is allowed."""
    step: int = 1
    """From one row to the next, if there is room."""

    def choose(self, demand: ColumnConstraints, index: int, offset: int = 0) -> Any | None:
        """Return the value of the row with this index (from 0), or None if none is allowed.

        Args:
            demand: what is asked of it.
            index: the index; each has a value of its own as long as there are enough.
            offset: added to the index where there is plenty.
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
        """Return a number upwards from the start, or down from as near to it as is allowed."""
        if self.start > high:
            number = (high // self.step - index) * self.step
        else:
            number = (-(-max(low, self.start) // self.step) + index) * self.step
        return number if low <= number <= high else low + index


def scale(type_: sa.types.TypeEngine[Any]) -> OrderedDomain | None:
    """Return the scale of a type, or None if it has no order."""
    return next((make(type_) for known, make in _SCALES if isinstance(type_, known)), None)


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
    def number(value: Any) -> Decimal:
        return Decimal(value) * 1000

    return OrderedDomain(number, lambda number: number / 1000, -(10**9), 10**9, 1000, 1000)


def _moment(type_: sa.DateTime) -> OrderedDomain:
    def number(value: Any) -> Decimal:
        moment = dt.datetime.fromisoformat(value) if isinstance(value, str) else value
        aware = moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
        return Decimal((aware - _EPOCH) // _MICROSECOND)

    def value(number: int) -> dt.datetime:
        moment = _EPOCH + number * _MICROSECOND
        return moment if type_.timezone else moment.replace(tzinfo=None)

    return OrderedDomain(number, value, -_CENTURY, _CENTURY, 0, _MINUTE)


def _day(_: Any) -> OrderedDomain:
    def number(value: Any) -> Decimal:
        day = dt.date.fromisoformat(value) if isinstance(value, str) else value
        return Decimal(day.toordinal())

    return OrderedDomain(
        number, dt.date.fromordinal, 1, dt.date.max.toordinal(), _EPOCH.toordinal()
    )


def _time(_: Any) -> OrderedDomain:
    def number(value: Any) -> Decimal:
        time = dt.time.fromisoformat(value) if isinstance(value, str) else value
        return Decimal((dt.datetime.combine(_EPOCH, time, dt.UTC) - _EPOCH) // _MICROSECOND)

    return OrderedDomain(
        number, lambda number: (_EPOCH + number * _MICROSECOND).time(), 0, _DAY - 1, 0
    )


def _interval(_: Any) -> OrderedDomain:
    def number(value: Any) -> Decimal:
        return Decimal(value // _MICROSECOND)

    def value(number: int) -> dt.timedelta:
        return number * _MICROSECOND

    return OrderedDomain(number, value, -_CENTURY, _CENTURY, _MINUTE, _MINUTE)


_SCALES: tuple[tuple[type[sa.types.TypeEngine[Any]], Callable[[Any], OrderedDomain]], ...] = (
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
