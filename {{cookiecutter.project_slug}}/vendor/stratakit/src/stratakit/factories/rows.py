"""Rows of any table: which columns need a value, which foreign keys need a parent.

What may be null stays null, and what the server fills in is left to it.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

import sqlalchemy as sa
from sqlalchemy import exc

from .checks import Check, ColumnConstraints, breaks, demands
from .circles import defer, deferrable, restore, returns
from .constraints import BuildError, advice, explain, served, unique_sets, writable
from .partitions import checks_of
from .values import ColumnContext, NoValueError, constant, label, value

ATTEMPTS = 32
"""How many values are tried where a check refuses those that were made for it."""

Row: TypeAlias = dict[sa.Column[Any], Any]
Parent: TypeAlias = Callable[[sa.ForeignKeyConstraint, Row], Row]
"""Makes the row that a foreign key refers to, with some values given, and returns its values.

With all values given that it refers to, it returns the row that is there, if there is one.
"""
Make: TypeAlias = Callable[..., Any]
"""Makes a value of a column, as it is asked of it, which a function may refuse."""


@dataclass(slots=True)
class Making:
    """A row that is being made, to which others may refer before it is stored."""

    table: sa.Table
    row: Row
    make: Make
    stored: bool = False
    later: list[tuple[sa.ForeignKeyConstraint, Row]] = field(default_factory=list)
    """Keys to parents that refer to this row, and are made after it."""
    deferred: list[sa.ForeignKeyConstraint] = field(default_factory=list)
    """Keys that are not checked until this row is stored, and what was made after it."""

    def take(self, columns: Iterable[sa.Column[Any]]) -> Row:
        """Return the values of columns, which are made up where they were left to the server.

        Raises:
            BuildError: only the server can make one up.
        """
        for column in columns:
            if column not in self.row:
                if not writable(column):
                    raise BuildError(
                        f"rows of {self.table} and of others need each other, and {column} is"
                        " always made up by the server: give one of the rows",
                        self.table,
                    )
                self.row[column] = self.make(column, ColumnConstraints())
        return {column: self.row[column] for column in columns}


class Rows:
    """Finds the values of rows, one after the other."""

    def __init__(self, seed: str, numbers: defaultdict[sa.Table, int]) -> None:
        """Take what values depend on: a seed, and how many rows each table has got so far."""
        self._seed = seed
        self._numbers = numbers
        self._making: list[Making] = []
        self._bounds: dict[sa.Table, tuple[Check, ...]] = {}

    @contextmanager
    def making(
        self,
        table: sa.Table,
        given: Row,
        parent: Parent,
        connection: sa.Connection | None = None,
        *,
        filled: Collection[sa.Column[Any]] = (),
    ) -> Iterator[Row]:
        """Yield the values that an INSERT needs; whoever stores them adds what the server has.

        Args:
            table: the table.
            given: the values that are decided.
            parent: makes the rows that are referred to.
            connection: by which the row will be stored; where there is none, what the server would
                fill in gets a value here, too.
            filled: columns which get a value here though they need none.

        Raises:
            BuildError: no value is found, or rows would need each other without end.
        """
        self._numbers[table] += 1
        # Noted, since another row may be counted while the parents of this one are made.
        make = partial(self._value, self._numbers[table])
        making = Making(table, dict(given), make)
        self._making.append(making)
        try:
            self._fill(making, parent, connection, filled)
            yield making.row
            making.stored = True
            for key, known in making.later:
                parent(key, known)
            restore(connection, making.deferred)
        finally:
            self._making.remove(making)

    def fill(
        self,
        connection: sa.Connection,
        table: sa.Table,
        filled: Collection[sa.Column[Any]] = (),
    ) -> Row:
        """Return what a valid row needs; its parents are inserted, it is not.

        Raises:
            BuildError: no row can be made up.
        """
        with self.making(table, {}, self.stored(connection), connection, filled=filled) as row:
            # Without what is made after it: the transaction is not for keeping.
            self._making[-1].later.clear()
            self._making[-1].deferred.clear()
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
        known, parent = given or {}, self.stored(connection)
        with self.making(table, known, parent, connection, filled=filled) as row:
            try:
                row.update(insert(connection, table, row))
            except exc.DBAPIError as error:
                explain(error, [table], known)
                raise
        return row

    def stored(self, connection: sa.Connection) -> Parent:
        """Return what makes parents by inserting them."""

        def parent(key: sa.ForeignKeyConstraint, known: Row) -> Row:
            table = key.referred_table
            if known.keys() >= {each.column for each in key.elements}:
                same = [column == each for column, each in known.items()]
                if found := connection.execute(sa.select(table).where(*same)).first():
                    return dict(zip(table.columns, found, strict=True))
            return self.insert(connection, table, known)

        return parent

    def _fill(
        self,
        making: Making,
        parent: Parent,
        connection: sa.Connection | None,
        filled: Collection[sa.Column[Any]],
    ) -> None:
        table, row = making.table, making.row
        if table not in self._bounds:
            self._bounds[table] = checks_of(connection, table)
        bounds = self._bounds[table]
        # What the server will put in, where it is known.
        left = _constants(table, row, filled) if connection else {}
        wanted = demands(table, _named({**left, **row}), {each.name for each in filled}, bounds)
        required = {name for name, demand in wanted.items() if demand.required}
        needed = [
            column
            for column in table.columns
            if column not in row
            and column.computed is None
            and (not connection or column in filled or not served(column))
            and (not column.nullable or column in filled or column.name in required)
        ]
        self._refer(making, needed, left, parent, connection)
        names = {each.name for each in needed}
        for column in needed:
            if column not in row:
                # Anew for each, since one value may bound the next.
                known = _named({**left, **row})
                demand = demands(table, known, names, bounds)

                def refuses(
                    value: Any, column: sa.Column[Any] = column, known: Any = known
                ) -> bool:
                    with_it = {**known, **_named({column: value})}
                    return breaks(table, with_it, column.name, names, bounds)

                row[column] = making.make(
                    column, demand.get(column.name, ColumnConstraints()), refuses
                )

    def _refer(
        self,
        making: Making,
        needed: Collection[sa.Column[Any]],
        left: Row,
        parent: Parent,
        connection: sa.Connection | None,
    ) -> None:
        """Add to a row the keys of the parents that it needs."""
        table, row = making.table, making.row
        # The narrow ones first: what they decide is given to the parents of the wider ones.
        keys = sorted(
            table.foreign_key_constraints, key=lambda key: (len(key.elements), key.column_keys)
        )
        for key in keys:
            pairs = {each.parent: each.column for each in key.elements}
            known = {pairs[each]: row[each] for each in pairs.keys() & row.keys()}
            filled_in = {pairs[each]: left[each] for each in pairs.keys() & left.keys()}
            if filled_in and known.keys() | filled_in.keys() == {*pairs.values()}:
                # What the server puts in refers to a row that should be there.
                if key.referred_table not in {each.table for each in self._making}:
                    parent(key, {**filled_in, **known})
                continue
            nothing = any(row.get(column) is None and column not in needed for column in pairs)
            if nothing or pairs.keys() <= row.keys():
                continue
            if key.referred_table is table:
                # To itself: any other row would need one, too.
                for target in pairs.values():
                    if row.get(target) is None:
                        row[target] = making.make(target, ColumnConstraints())
                made = row
            else:
                made = self._parent(making, key, known, parent, connection)
            row.update({column: made[target] for column, target in pairs.items()})

    def _parent(
        self,
        making: Making,
        key: sa.ForeignKeyConstraint,
        known: Row,
        parent: Parent,
        connection: sa.Connection | None,
    ) -> Row:
        """Return what a key refers to: made now, being made, or to be made after its own row."""
        targets = [each.column for each in key.elements]
        circle = next((each for each in self._making if each.table is key.referred_table), None)
        if circle and circle.stored:
            return circle.row
        if circle and deferrable(key):
            defer(connection, key)
            circle.deferred.append(key)
            return circle.take(targets)
        if circle:
            names = [each.table for each in self._making[self._making.index(circle) :]]
            raise BuildError(
                "a row of each of these needs one of the next:"
                f" {' -> '.join(map(str, [*names, circle.table]))}."
                " Let one of their foreign keys be null or deferrable, or give one of the rows",
                making.table,
            )
        if deferrable(key) and returns(key):
            defer(connection, key)
            making.deferred.append(key)
            made = {
                each: known[each] if each in known else making.make(each, ColumnConstraints())
                for each in targets
            }
            making.later.append((key, made))
            return made
        return parent(key, known)

    def _value(
        self,
        number: int,
        column: sa.Column[Any],
        demand: ColumnConstraints,
        refuses: Callable[[Any], bool] = lambda _: False,
    ) -> Any:
        unique = any(column in each for each in unique_sets(column.table))
        slot = ColumnContext(column, demand, unique, self._seed, number)
        try:
            first = made = value(slot)
            for _ in range(ATTEMPTS):
                if not refuses(made):
                    return made
                slot = slot.another()
                made = value(slot)
        except NoValueError as error:
            message = f"{column}: {error}. {advice(column.name)}"
            raise BuildError(message, column.table) from error
        # The server says which check it is.
        return first


def insert(connection: sa.Connection, table: sa.Table, row: Row) -> Row:
    """Insert a row with these values; return it as the server has it."""
    values = {column.key: each for column, each in row.items()}
    stored = connection.execute(sa.insert(table).values(values).returning(*table.columns)).one()
    return dict(zip(table.columns, stored, strict=True))


def _constants(table: sa.Table, row: Row, filled: Collection[sa.Column[Any]]) -> Row:
    """Return what the server fills in, as far as it is the same for each row."""
    left = (each for each in table.columns if each not in row and each not in filled)
    found = ((each, constant(each)) for each in left)
    return {column: each for column, each in found if each is not None}


def _named(row: Row) -> dict[str, object]:
    """Return the values as checks see them."""
    return {column.name: label(column, each) for column, each in row.items()}
