"""What is given to a build instead of being made up: which fields, and which value to which row."""

import difflib
from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm

from .constraints import BuildError, writable
from .values import in_postgresql

Given = dict[str, object]


def refuse_unknown(mapper: orm.Mapper[Any], given: Given) -> None:
    """Check that a class has the fields.

    Raises:
        BuildError: there is no such field; it names those that are near.
    """
    names = [str(each) for each in mapper.all_orm_descriptors.keys()]  # noqa: SIM118 - no mapping
    for name in given:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=3)
            hint = f"did you mean {' or '.join(near)}?" if near else f"it has {', '.join(names)}"
            raise BuildError(f"{mapper.class_.__name__} has no field {name!r}: {hint}")


def refuse_generated(mapper: orm.Mapper[Any], given: Given) -> None:
    """Check that a statement may set the fields.

    Raises:
        BuildError: the server makes one up, and takes no other value.
    """
    for name in given.keys() & {each.key for each in mapper.column_attrs}:
        for column in mapper.column_attrs[name].columns:
            if isinstance(column, sa.Column) and not writable(column):
                how = "computed" if column.computed is not None else "an identity"
                raise BuildError(
                    f"{mapper.class_.__name__}.{name} is {how}:"
                    f" the server always makes it up, so leave it out{_inputs(column)}"
                )


def _inputs(column: sa.Column[Any]) -> str:
    """Return what to give instead of a computed column."""
    return (
        f", and give what it is computed from: {column.computed.sqltext}" if column.computed else ""
    )


def per_row(mapper: orm.Mapper[Any], count: int, given: Given) -> list[Given]:
    """Return what is given to each of several rows.

    Raises:
        BuildError: there are not as many values as rows.
    """
    rows: list[Given] = [{} for _ in range(count)]
    for name, value in given.items():
        for number, row in enumerate(rows, 1):
            row[name] = _one(mapper, name, value, number, count)
    return rows


def _one(mapper: orm.Mapper[Any], name: str, value: Any, number: int, count: int) -> object:
    """Return a field's value for the row of a number, from 1."""
    if callable(value) and not isinstance(value, type):
        return value(number)
    field = f"{mapper.class_.__name__}.{name}"
    if isinstance(value, Iterator):
        try:
            return next(value)
        except StopIteration:
            raise BuildError(f"{field} has values for {number - 1} rows, of {count}") from None
    if (
        not isinstance(value, Sequence)
        or isinstance(value, str | bytes)
        or _holds_lists(mapper, name)
    ):
        return value
    if len(value) != count:
        raise BuildError(f"{field} has {len(value)} values, for {count} rows")
    return value[number - 1]


def _holds_lists(mapper: orm.Mapper[Any], name: str) -> bool:
    """Return whether a list may be one value of a field."""
    if relationship := mapper.relationships.get(name):
        return bool(relationship.uselist)
    if name not in mapper.column_attrs:
        return True
    [column, *_] = mapper.column_attrs[name].columns
    own = isinstance(column.type, sa.types.TypeDecorator | sa.types.UserDefinedType)
    return own or isinstance(in_postgresql(column.type), sa.ARRAY | sa.JSON)
