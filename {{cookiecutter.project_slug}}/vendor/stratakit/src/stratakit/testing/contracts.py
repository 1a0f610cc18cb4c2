"""Helpers for contract suites, which run the same tests against each adapter of a port.

    from stratakit.testing import contracts

    repository = contracts.adapters("memory_repository", "postgres_repository")

    async def test_every_field_comes_back(repository: Repository) -> None:
        new = contracts.filled(domain.NewItem)
        added = await repository.add(uuid4(), new)
        assert asdict(added) == {**asdict(added), **asdict(new)}

The fake is tested in the unit tier, the real adapter in the integration tier. `filled` gives every
new field of the domain a value, so no adapter can drop one unnoticed.
"""

import dataclasses
import enum
import types
import typing
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

T = typing.TypeVar("T")
# Two values each, since one may be the field's default.
SCALARS: dict[object, tuple[object, object]] = {
    str: ("snow 雪", "lamp"),
    int: (7, 8),
    float: (0.5, 1.25),
    bool: (True, False),
    bytes: (b"\x00\xff", b"\x01"),
    Decimal: (Decimal("1.50"), Decimal("2.25")),
    UUID: (UUID(int=7), UUID(int=8)),
    datetime: (datetime(2100, 1, 2, 3, 4, 5, 678901, UTC), datetime(2101, 1, 1, tzinfo=UTC)),
    date: (date(2100, 1, 2), date(2101, 1, 1)),
    time: (time(1, 2, 3, 456789), time(4)),
    timedelta: (timedelta(days=1, microseconds=1), timedelta(hours=1)),
    # Any JSON value.
    object: ([{"deep": [1, None]}], "lamp"),
    Any: ([{"deep": [1, None]}], "lamp"),
}


def adapters(fake: str, real: str) -> Any:
    """Return a fixture with two parameters: the adapters that the two named fixtures provide."""

    @pytest.fixture(params=[fake, pytest.param(real, marks=pytest.mark.integration)])
    def adapter(request: pytest.FixtureRequest) -> object:
        found: object = request.getfixturevalue(request.param)
        return found

    return adapter


def filled(kind: type[T], unlike: object = None, **given: Any) -> T:
    """Return an instance of a dataclass or TypedDict in which no field has its default value.

    Args:
        kind: the class.
        unlike: an instance to differ from in each field, as an update does; defaults are allowed.
        given: values that cannot be derived from a type, such as one of a few words or an id.

    Raises:
        TypeError: no value is known for the type of a field; pass one.
    """
    values: dict[str, object] = {}
    for name, hint in typing.get_type_hints(kind, include_extras=True).items():
        if name in given:
            continue
        taken = _default(kind, name) if unlike is None else (getattr(unlike, name, None),)
        good = [value for value in _values(hint) if value not in taken]
        if not good:
            where = f"{kind.__name__}.{name}"
            raise TypeError(f"{where}: no value is known of {hint}; hint: filled(..., {name}=...)")
        values[name] = good[0]
    return kind(**{**values, **given})


def _default(kind: type, name: str) -> tuple[object, ...]:
    field = getattr(kind, "__dataclass_fields__", {}).get(name)
    if field is None:
        return ()
    if field.default_factory is not dataclasses.MISSING:
        return (field.default_factory(),)
    return () if field.default is dataclasses.MISSING else (field.default,)


def _values(hint: Any) -> tuple[Any, ...]:
    """Return values of a type: several if possible, none for an unknown type."""
    if hint in SCALARS:
        return SCALARS[hint]
    if shape := SHAPES.get(typing.get_origin(hint)):
        return shape(*typing.get_args(hint))
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return (one := filled(hint), filled(hint, unlike=one))
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return tuple(hint)
    return (filled(hint),) if typing.is_typeddict(hint) else ()


def _of(hint: Any, *_: Any) -> tuple[Any, ...]:
    return _values(hint)


def _any_of(*hints: Any) -> tuple[Any, ...]:
    return tuple(value for hint in hints for value in _values(hint))


def _literals(*values: Any) -> tuple[Any, ...]:
    return values


def _mappings(key: Any, value: Any) -> tuple[Any, ...]:
    return tuple({key: value} for key, value in _tuples(key, value))


def _tuples(*hints: Any) -> tuple[Any, ...]:
    if Ellipsis in hints:
        return tuple((value,) for value in _values(hints[0]))
    return tuple(zip(*map(_values, hints), strict=False))


def _collections(kind: Callable[[Any], Any]) -> Callable[[Any], tuple[Any, ...]]:
    return lambda hint: tuple(kind([value]) for value in _values(hint))


SHAPES: dict[object, Callable[..., tuple[Any, ...]]] = {
    **dict.fromkeys([typing.Annotated, typing.Required, typing.NotRequired], _of),
    **dict.fromkeys([typing.Union, types.UnionType], _any_of),
    typing.Literal: _literals,
    **dict.fromkeys([dict, Mapping, MutableMapping], _mappings),
    tuple: _tuples,
    **{kind: _collections(kind) for kind in (list, set, frozenset)},
    Sequence: _collections(tuple),
    AbstractSet: _collections(frozenset),
}
"""Functions from the arguments of a generic type to its values, by its origin."""
