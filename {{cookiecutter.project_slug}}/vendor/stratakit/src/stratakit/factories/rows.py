"""Rows of any table: which columns need a value, which foreign keys need a parent.

What may be null stays null, and what the server fills in is left to it.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, TypeAlias

import sqlalchemy as sa
from sqlalchemy import exc

from .checks import ColumnConstraints, demands
from .values import EXAMPLE, ColumnContext, NoValueError, label, value

Row: TypeAlias = dict[sa.Column[Any], Any]
Parent: TypeAlias = Callable[[sa.ForeignKeyConstraint, Row], Row]
"""Makes the row that a foreign key refers to, with some values given, and returns its values."""


class BuildError(Exception):
    """A row cannot be built from the metadata alone; the text says what to give."""


class Rows:
    """Finds the values of rows, one after the other."""

    def __init__(self, seed: str, numbers: defaultdict[sa.Table, int]) -> None:
        """Take what values depend on: a seed, and how many rows each table has got so far."""
        self._seed = seed
        self._numbers = numbers
        self._making: list[sa.Table] = []

    def fill(
        self,
        table: sa.Table,
        given: Row,
        parent: Parent,
        *,
        filled: Collection[sa.Column[Any]] = (),
        complete: bool = False,
    ) -> Row:
        """Return the values that an INSERT needs.

        Args:
            table: the table.
            given: the values that are decided.
            parent: makes the rows that are referred to.
            filled: columns which get a value here though they need none.
            complete: whether what the server would fill in gets a value here.

        Raises:
            BuildError: no value is found, or rows would need each other without end.
        """
        self._numbers[table] += 1
        # Noted, since another row may be counted while the parents of this one are made.
        make = partial(self._value, self._numbers[table])
        row = dict(given)
        wanted = demands(table, _named(row), {each.name for each in filled})
        required = {name for name, demand in wanted.items() if demand.required}
        needed = [
            column
            for column in table.columns
            if column not in row
            and column.computed is None
            and (complete or column in filled or not _served(column))
            and (not column.nullable or column in filled or column.name in required)
        ]
        with self._no_circle(table):
            _refer(table, row, needed, make, parent)
        for column in needed:
            if column not in row:
                # Anew for each, since one value may bound the next.
                demand = demands(table, _named(row), {each.name for each in needed})
                row[column] = make(column, demand.get(column.name, ColumnConstraints()))
        return row

    def insert(
        self,
        connection: sa.Connection,
        table: sa.Table,
        given: Row | None = None,
        *,
        filled: Collection[sa.Column[Any]] = (),
    ) -> Row:
        """Insert a row, and those that it refers to; return it as the server has it.

        Raises:
            BuildError: no row can be made up.
            IntegrityError: the server refuses it.
        """
        row = self.fill(table, given or {}, self.stored(connection), filled=filled)
        return insert(connection, table, row)

    def stored(self, connection: sa.Connection) -> Parent:
        """Return what makes parents by inserting them."""
        return lambda key, known: self.insert(connection, key.referred_table, known)

    @contextmanager
    def _no_circle(self, table: sa.Table) -> Iterator[None]:
        circle = [*self._making, table]
        if table in self._making:
            names = " -> ".join(str(each) for each in circle[circle.index(table) :])
            raise BuildError(
                f"a row of each of these needs one of the next: {names}."
                " Let one of their foreign keys be null, or give one of the rows"
            )
        self._making = circle
        try:
            yield
        finally:
            self._making = circle[:-1]

    def _value(self, number: int, column: sa.Column[Any], demand: ColumnConstraints) -> Any:
        unique = any(column in each for each in unique_sets(column.table))
        slot = ColumnContext(column, demand, unique, self._seed, number)
        try:
            return value(slot)
        except NoValueError as error:
            raise BuildError(f"{column}: {error}. {advice(column.name)}") from error


def _refer(
    table: sa.Table,
    row: Row,
    needed: Collection[sa.Column[Any]],
    make: Callable[[sa.Column[Any], ColumnConstraints], Any],
    parent: Parent,
) -> None:
    """Add to a row the keys of the parents that it needs."""
    # The narrow ones first: what they decide is given to the parents of the wider ones.
    keys = sorted(
        table.foreign_key_constraints, key=lambda key: (len(key.elements), key.column_keys)
    )
    for key in keys:
        pairs = {each.parent: each.column for each in key.elements}
        nothing = any(row.get(column) is None and column not in needed for column in pairs)
        if nothing or pairs.keys() <= row.keys():
            continue
        if key.referred_table is table:
            # To itself: any other row would need one, too.
            made = {
                target: row.get(target) or make(target, ColumnConstraints())
                for target in pairs.values()
            }
            row.update(made)
        else:
            made = parent(key, {pairs[column]: row[column] for column in pairs.keys() & row.keys()})
        row.update({column: made[target] for column, target in pairs.items()})


def insert(connection: sa.Connection, table: sa.Table, row: Row) -> Row:
    """Insert a row with these values; return it as the server has it."""
    values = {column.key: each for column, each in row.items()}
    stored = connection.execute(sa.insert(table).values(values).returning(*table.columns)).one()
    return dict(zip(table.columns, stored, strict=True))


@dataclass(frozen=True, slots=True)
class ConstraintViolation:
    """A violated constraint, as the server names it."""

    sqlstate: str
    constraint: str | None


def violation(error: exc.DBAPIError) -> ConstraintViolation:
    """Return what the server refused, whichever driver raised the error."""
    # SQLAlchemy's wrapper of asyncpg keeps the text alone; psycopg has a part for such details.
    details = getattr(error.orig, "diag", None) or (error.orig and error.orig.__cause__)
    sqlstate = str(getattr(error.orig, "sqlstate", None))
    return ConstraintViolation(sqlstate, getattr(details, "constraint_name", None))


@cache
def unique_sets(table: sa.Table) -> tuple[frozenset[sa.Column[Any]], ...]:
    """Return the sets of columns that no two rows of a table may share."""
    constraints: Iterable[sa.Constraint | sa.Index] = (*table.constraints, *table.indexes)
    return tuple(
        frozenset(each.columns)
        for each in constraints
        if isinstance(each, sa.PrimaryKeyConstraint | sa.UniqueConstraint)
        or (isinstance(each, sa.Index) and each.unique)
    )


def advice(field: str) -> str:
    """Return how to go on where no value for a field is found."""
    return (
        f"Give one, as in build(..., {field}=...), or say once in the model what is a good one:"
        f' mapped_column(info={{"{EXAMPLE}": ...}}), a value or a function from 1, 2, 3, ... to one'
    )


def _served(column: sa.Column[Any]) -> bool:
    """Return whether a column that is left out gets a value all the same."""
    return (
        column.server_default is not None
        or column.default is not None
        or column.identity is not None
        or column.table.autoincrement_column is column
    )


def _named(row: Row) -> dict[str, object]:
    """Return the values as checks see them."""
    return {column.name: label(column, each) for column, each in row.items()}
