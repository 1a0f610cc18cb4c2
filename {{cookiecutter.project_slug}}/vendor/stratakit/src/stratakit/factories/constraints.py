"""Constraints and unique indexes of a table, and the server's errors about violated ones."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any

import sqlalchemy as sa
import sqlglot
from sqlalchemy.dialects.postgresql import ExcludeConstraint
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlglot import exp

from .checks import checks, name_of
from .partitions import key_of
from .values import EXAMPLE

CHECK_VIOLATION = "23514"
_UNIQUE = (sa.PrimaryKeyConstraint, sa.UniqueConstraint, ExcludeConstraint)


class BuildError(Exception):
    """Error for a row that cannot be built from the metadata alone; it says what to pass."""

    def __init__(self, message: str, table: sa.Table | None = None) -> None:
        """Take the message, and the table if none of its rows can be built."""
        super().__init__(message)
        self.table = table


@dataclass(frozen=True, slots=True)
class ConstraintViolation:
    """Violated constraint, as named by the server."""

    sqlstate: str
    constraint: str | None
    table: str | None
    """Table of the constraint, which may be a partition of the model's table."""
    schema: str | None


def violation(error: DBAPIError) -> ConstraintViolation:
    """Return the constraint that was violated, whichever driver raised the error."""
    # SQLAlchemy's asyncpg wrapper keeps only the text, so use its cause; psycopg has `diag`.
    details = getattr(error.orig, "diag", None) or (error.orig and error.orig.__cause__)
    sqlstate = str(getattr(error.orig, "sqlstate", None))
    names = (f"{part}_name" for part in ("constraint", "table", "schema"))
    return ConstraintViolation(sqlstate, *(getattr(details, name, None) for name in names))


def no_partition(table: sa.Table, error: DBAPIError) -> bool:
    """Return whether a row was rejected because no partition of a table accepts it."""
    found = violation(error)
    return bool(key_of(table)) and (found.sqlstate, found.constraint) == (CHECK_VIOLATION, None)


def explain(error: DBAPIError, tables: Sequence[sa.Table], given: Collection[Any]) -> None:
    """Raise an error with advice if the server rejected generated values.

    Raises:
        BuildError: none of the values that a constraint rejects was given, or none at all was.
    """
    name, decided = violation(error).constraint, {column.name for column in given}
    for table in tables:
        if no_partition(table, error):
            raise BuildError(
                f"{table}: no partition accepts the generated values of {key_of(table)}."
                f" {advice('field')}",
                table,
            ) from error
        for rule, columns, text in _rules(table):
            if rule == name and not columns & decided:
                raise BuildError(
                    f"{table}: no values found that satisfy the constraint {name}: {text}."
                    f" {advice(min(columns, default='field'))}",
                    table,
                ) from error
    # Probably a domain or a trigger, which the metadata does not show; not a lost connection.
    if not (given or isinstance(error, OperationalError)):
        said = str(error.orig).strip().splitlines()[0]
        raise BuildError(
            f"{tables[0]}: the server rejects every generated row: {said}. {advice('field')}",
            tables[0],
        ) from error


def _rules(table: sa.Table) -> Iterator[tuple[str | None, set[str], str]]:
    """Yield the name, the columns and the text of each constraint and unique index."""
    for check in checks(table):
        yield check.name, check.columns, f"CHECK ({check.text})"
    for each in _unique(table):
        names = sorted({column.name for column in columns_of(each)})
        yield name_of(each), set(names), f"{type(each).__name__} of {', '.join(names)}"


def advice(field: str) -> str:
    """Return advice for a field without a generated value."""
    return (
        f"Pass one, as in build(..., {field}=...), or declare an example in the model:"
        f' mapped_column(info={{"{EXAMPLE}": ...}}), a value or a function of the number 1, 2, ...'
    )


def columns_of(part: sa.Constraint | sa.Index) -> list[sa.Column[Any]]:
    """Return the columns of a constraint or an index, including those in its expressions."""
    found: list[sa.Column[Any]] = list(getattr(part, "columns", ()))
    for each in getattr(part, "expressions", ()):
        if isinstance(each, sa.TextClause) and isinstance(part.table, sa.Table):
            with suppress(sqlglot.errors.SqlglotError):
                named = sqlglot.parse_one(each.text, dialect="postgres").find_all(exp.Column)
                found += [part.table.c[name.name] for name in named if name.name in part.table.c]
    return found


@cache
def unique_sets(table: sa.Table) -> tuple[frozenset[sa.Column[Any]], ...]:
    """Return the sets of columns whose values no two rows of a table may share."""
    return tuple(frozenset(columns_of(each)) for each in _unique(table))


def _unique(table: sa.Table) -> Iterator[sa.Constraint | sa.Index]:
    for each in (*table.constraints, *table.indexes):
        if isinstance(each, _UNIQUE) or (isinstance(each, sa.Index) and each.unique):
            yield each


@cache
def may_share(key: sa.ForeignKeyConstraint) -> bool:
    """Return whether rows of a key's table may refer to the same row.

    Each unique set that includes the key needs a column that is generated anew for each row.
    """
    referring = {column for each in key.table.foreign_key_constraints for column in each.columns}
    return all(
        any(column not in referring and made_up(column) for column in unique)
        for unique in unique_sets(key.table)
        if unique & set(key.columns)
    )


def made_up(column: sa.Column[Any]) -> bool:
    """Return whether a column gets a different value in each row if it is not given."""
    own = column.identity is not None or column.table.autoincrement_column is column
    return own or not (column.nullable or served(column))


def writable(column: sa.Column[Any]) -> bool:
    """Return whether a statement may set a column."""
    return not column.computed and not (column.identity and column.identity.always)


def served(column: sa.Column[Any]) -> bool:
    """Return whether a column gets a value even if an INSERT omits it."""
    return (
        column.server_default is not None
        or column.default is not None
        or column.identity is not None
        or column.table.autoincrement_column is column
    )
