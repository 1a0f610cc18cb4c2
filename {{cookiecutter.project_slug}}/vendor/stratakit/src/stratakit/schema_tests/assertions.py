"""Assertions about a table, from the catalog and by experiment.

They raise AssertionError if the database differs from the models. They leave rows behind, which
their caller rolls back.
"""

import datetime as dt
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.dialects import postgresql as pg

from ..database.migrations import WRITE
from ..factories.checks import Check
from ..factories.constraints import BuildError, no_partition, violation, writable
from ..factories.rows import Row, Rows, insert
from ..factories.values import in_postgresql, members, ordered_domain
from .catalog import Catalog, Kind

IMMEDIATE = sa.text("SET CONSTRAINTS ALL IMMEDIATE")
"""Statement without which constraints that are checked on commit would never be checked."""
NOT_NULL = "23502"
LONG = 10_000
"""Length above which values are not tried, since they take too long."""
OLD = dt.datetime(2001, 1, 1, tzinfo=dt.UTC)
ITEMS = ["", "a,b", "{}", '"', "\\", "NULL", "naïve ☃"]
DOCUMENT: dict[str, object] = {
    "text": "naïve ☃ \"'\\",
    "list": [0, -1.5, 10**15, None, True],
    "empty": [{}, []],
}

Columns = Collection[sa.Column[Any]]


@dataclass(frozen=True, slots=True)
class ModelDatabase:
    """Database under test, in a transaction that will be rolled back."""

    connection: sa.Connection
    catalog: Catalog
    rows: Rows = field(default_factory=lambda: Rows("schema", defaultdict(int)))

    def insert(self, table: sa.Table, given: Row | None = None, *, filled: Columns = ()) -> Row:
        """Insert a valid row, with some values given; return it."""
        row = self.rows.insert(self.connection, table, given, filled=filled)
        # Generating rows that refer to each other may have deferred them.
        self.connection.execute(IMMEDIATE)
        return row

    def fill(self, table: sa.Table, filled: Columns = ()) -> Row:
        """Return the values of a valid row; its parents are inserted, it is not."""
        return self.rows.fill(self.connection, table, filled)

    def attempt(self, action: Callable[[], object]) -> exc.DBAPIError | None:
        """Call a function and roll it back; return the error of the database, or None."""
        savepoint = self.connection.begin_nested()
        try:
            action()
        except exc.DBAPIError as error:
            return error
        finally:
            savepoint.rollback()
        return None

    def broken(self, error: exc.DBAPIError) -> str | None:
        """Return the name of a violated constraint; of a partition's, that of the whole table's."""
        found = violation(error)
        names = {"name": found.constraint, "table": found.table, "schema": found.schema}
        whole: str | None = self.connection.scalar(_WHOLE, names)
        return whole or found.constraint


_WHOLE = sa.text("""
    WITH RECURSIVE chain AS (
      SELECT pg_constraint.* FROM pg_constraint JOIN pg_class ON pg_class.oid = conrelid
      WHERE conname = :name AND relname = :table AND relnamespace = to_regnamespace(:schema)
      UNION ALL
      SELECT above.* FROM pg_constraint AS above JOIN chain ON above.oid = chain.conparentid
    )
    SELECT conname FROM chain WHERE conparentid = 0
""")


def require(condition: object, message: str) -> None:
    """Fail unless a condition holds.

    Raises:
        AssertionError: it does not hold.
    """
    if not condition:
        raise AssertionError(message)


def matches_models(
    subject: ModelDatabase, of: sa.Table | pg.ENUM, kind: Kind, name: str | None = None
) -> None:
    """Assert that a type or part of a table matches the models; without a name, all of its kind."""
    wrong = "\n".join(map(str, subject.catalog.differences(of, kind, name)))
    require(
        not wrong,
        f"{of.name} is not in the database (found) as in the models:\n{wrong}\nhint: {WRITE}",
    )


def no_other_part(subject: ModelDatabase, table: sa.Table) -> None:
    """Assert that a table has no constraint or index that its model lacks."""
    kinds: tuple[Kind, ...] = ("table constraint", "index")
    parts = [each for kind in kinds for each in subject.catalog.differences(table, kind)]
    more = "\n".join(str(each) for each in parts if each.change == "unexpected")
    require(not more, f"the database has parts of {table} that its model lacks:\n{more}")


def no_other_table(subject: ModelDatabase) -> None:
    """Assert that the database has no table or enum that the models lack."""
    more = ", ".join(subject.catalog.other_tables)
    require(not more, f"the database has tables or enums that the models lack: {more}")


def default(subject: ModelDatabase, table: sa.Table, column: sa.Column[Any]) -> None:
    """Assert that the server fills in a column that is left out."""
    row = subject.fill(table)
    # It may be present if another row that needs it was inserted first.
    row.pop(column, None)
    error, stored = _stored(subject, table, row, column)
    # A rejection for another reason does not mean that it is null.
    refused = error is not None and violation(error).sqlstate == NOT_NULL
    require(not refused and stored != [None], f"{column} is null if it is left out")


def builds(subject: ModelDatabase, table: sa.Table) -> None:
    """Assert that the server accepts a row that was generated from the models."""
    try:
        subject.insert(table)
    except BuildError as error:
        raise AssertionError(str(error)) from error


def not_null(subject: ModelDatabase, table: sa.Table, column: sa.Column[Any]) -> None:
    """Assert that the server rejects a null, or replaces it with a value."""
    row: Row = {**subject.fill(table), column: sa.null()}
    error, stored = _stored(subject, table, row, column)
    if error:
        refused = violation(error).sqlstate == NOT_NULL or no_partition(table, error)
        require(refused, f"a null in {column} is rejected for another reason: {error}")
    else:
        require(stored != [None], f"{column} can be null")


def duplicate(subject: ModelDatabase, table: sa.Table, columns: Columns) -> exc.DBAPIError | None:
    """Return the error for a second row with the same values; None if accepted or not tried."""
    if not all(map(writable, columns)):
        return None
    first = subject.insert(table, filled=columns)
    shared = {column: first[column] for column in columns}
    return subject.attempt(lambda: subject.insert(table, shared))


def broken_check(subject: ModelDatabase, table: sa.Table, check: Check) -> exc.DBAPIError | None:
    """Return the error for a row that breaks a check and nothing else; None if none is found."""
    columns = [each for each in table.columns if each.name in check.columns and writable(each)]
    row = subject.fill(table, filled=columns)
    for column in columns:
        for candidate in _candidates(check, column, row):
            broken = {**row, column: candidate}
            error = subject.attempt(partial(insert, subject.connection, table, broken))
            if error and subject.broken(error) == check.name:
                return error
    return None


def _candidates(check: Check, column: sa.Column[Any], row: Row) -> Iterator[object]:
    """Yield values that may break a check: those around the literals in its text."""
    near = [*check.literals, *(row[each] for each in row if each.name in check.columns)]
    plain = in_postgresql(column.type)
    if ordered := ordered_domain(plain):
        for each in near:
            try:
                number = int(ordered.number(each))
                yield from [ordered.value(number + by) for by in (-1, 0, 1)]
            except (ArithmeticError, AttributeError, TypeError, ValueError):
                # The literal is of another type.
                continue
    else:
        for known, around in _AROUND:
            if isinstance(plain, known):
                yield from around(plain, near, row.get(column))
    yield sa.null()


def _lengths(near: list[Any]) -> list[int]:
    bounds = [each + by for each in near if isinstance(each, int) for by in (-1, 1)]
    return [each for each in bounds if 0 <= each <= LONG]


def _texts(near: list[Any]) -> list[str]:
    return [each for each in near if isinstance(each, str)]


def _uuids(type_: sa.Uuid[Any], near: list[Any], _: object) -> Iterator[object]:
    with suppress(ValueError):
        yield from (UUID(each) if type_.as_uuid else each for each in _texts(near))


_AROUND: tuple[tuple[Any, Callable[[Any, list[Any], Any], Iterable[object]]], ...] = (
    (sa.Boolean, lambda *_: (False, True)),
    (sa.Enum, lambda type_, *_: [member for _, member in members(type_)]),
    (
        sa.String,
        lambda _, near, built: [
            *("", "~", str(built).swapcase(), *_texts(near)),
            *("~" * length for length in _lengths(near)),
        ],
    ),
    (sa.Uuid, _uuids),
    (sa.LargeBinary, lambda _, near, __: [b"~" * length for length in _lengths(near)]),
    (
        sa.ARRAY,
        lambda _, near, built: [(built or [None])[:1] * length for length in _lengths(near)],
    ),
    (sa.JSON, lambda *_: ([], 1, "~")),
)
"""Values that may break a check, by the column's type; from nearby values and a valid one."""


def orphan(
    subject: ModelDatabase, table: sa.Table, key: sa.ForeignKeyConstraint
) -> exc.DBAPIError | None:
    """Return the error for a row whose parent does not exist; None if it is accepted."""
    # Inserted and rolled back: deleting it could fail, since rows that it needs may refer to it.
    row, stored = subject.fill(key.referred_table), list[Row]()
    error = subject.attempt(
        lambda: stored.append(insert(subject.connection, key.referred_table, row))
    )
    require(not error, f"there is no row of {key.referred_table} to refer to: {error}")
    [parent] = stored
    known = {each.parent: parent[each.column] for each in key.elements}
    return subject.attempt(lambda: subject.insert(table, known))


def deletion(subject: ModelDatabase, table: sa.Table, key: sa.ForeignKeyConstraint) -> None:
    """Assert that the deletion of a parent has the effect that the foreign key specifies."""
    parent = subject.insert(key.referred_table)
    child = subject.insert(table, {each.parent: parent[each.column] for each in key.elements})
    rule = (key.ondelete or "NO ACTION").upper()
    if rule == "SET DEFAULT":
        # Its parent may be the default that replaces the parent of the other row.
        subject.insert(table)
    left: list[Row | None] = []

    def delete() -> None:
        subject.connection.execute(sa.delete(key.referred_table).where(*_same(parent, key)))
        left.append(_again(subject, table, child))

    error = subject.attempt(delete)
    if error and key.name not in {None, subject.broken(error)}:
        # Another key prevented the deletion; it has a case of its own.
        require(violation(error).sqlstate != NOT_NULL, f"the parent cannot be deleted: {error}")
        return
    if rule in {"NO ACTION", "RESTRICT"}:
        require(error, f"the parent can be deleted, despite {rule}")
        return
    require(not error, f"the parent cannot be deleted, despite {rule}: {error}")
    [row] = left
    if rule == "CASCADE":
        require(row is None, "the row is still there after its parent was deleted")
    elif row is None:
        require(False, f"the row is gone, despite {rule}")  # noqa: FBT003
    else:
        require(
            any(row[column] != child[column] for column in key.columns),
            f"the row still refers to its parent, despite {rule}",
        )


def moving(column: sa.Column[Any]) -> bool:
    """Return whether a column is the timestamp of its row's last change."""
    changes = column.onupdate is not None or column.server_onupdate is not None
    stamp = isinstance(column.type, sa.DateTime) and writable(column)
    return stamp and (changes or column.name == "updated_at")


def changes_on_update(subject: ModelDatabase, table: sa.Table, column: sa.Column[Any]) -> None:
    """Assert that the timestamp of a row's last change moves on an update, and others do not."""
    old: Row = {
        each: OLD if each.type.timezone else OLD.replace(tzinfo=None)
        for each in table.columns
        if isinstance(each.type, sa.DateTime)
        and writable(each)
        and (each is column or each.server_default)
    }
    row = subject.insert(table, old)
    columns = sorted(table.columns, key=lambda each: each.primary_key)
    other = next((each for each in columns if each not in old and writable(each)), column)
    # Setting one column to its current value is enough to be an update.
    change = sa.update(table).where(*_itself(table, row)).values({other: row[other]})
    subject.connection.execute(change)
    after = _again(subject, table, row) or {}
    require(after[column] > row[column], f"{column} stays as it is when its row is changed")
    moved = [str(each) for each in old if after[each] != row[each] and not moving(each)]
    require(not moved, f"{', '.join(moved)} moves when the row is changed")


def round_trip(subject: ModelDatabase, table: sa.Table, column: sa.Column[Any]) -> None:
    """Assert that values are read as they were written."""
    built = subject.fill(table, filled=[column])[column]
    plain = in_postgresql(column.type)
    samples = [built, [] if isinstance(plain, sa.ARRAY) else DOCUMENT]
    if isinstance(plain, sa.ARRAY) and type(plain.item_type) is sa.Text and not plain.dimensions:
        samples.append(ITEMS)
    if isinstance(plain, sa.ARRAY) and plain.as_tuple:
        samples = [tuple(sample) for sample in samples]
    for sample in samples:
        error, stored = _stored(subject, table, {**subject.fill(table), column: sample}, column)
        # A check may reject the other samples, but not the one that was built for it.
        checked = isinstance(error, exc.IntegrityError) and sample is not built
        require(checked or not error, f"{column} does not take {sample!r}: {error}")
        require(checked or stored == [sample], f"{column} gives {stored} for {sample!r}")


def _stored(
    subject: ModelDatabase, table: sa.Table, row: Row, column: sa.Column[Any]
) -> tuple[exc.DBAPIError | None, list[object]]:
    """Insert a row; return the error, or else the stored value of a column."""
    stored: list[object] = []
    error = subject.attempt(lambda: stored.append(insert(subject.connection, table, row)[column]))
    return error, stored


def _same(parent: Row, key: sa.ForeignKeyConstraint) -> list[sa.ColumnElement[bool]]:
    """Return the conditions that find the row that a foreign key refers to."""
    return [each.column == parent[each.column] for each in key.elements]


def _itself(table: sa.Table, row: Row) -> list[sa.ColumnElement[bool]]:
    return [column == row[column] for column in table.primary_key]


def _again(subject: ModelDatabase, table: sa.Table, row: Row) -> Row | None:
    """Return the current state of a row, or None if it is gone."""
    found = subject.connection.execute(sa.select(table).where(*_itself(table, row))).one_or_none()
    return None if found is None else dict(zip(table.columns, found, strict=True))
