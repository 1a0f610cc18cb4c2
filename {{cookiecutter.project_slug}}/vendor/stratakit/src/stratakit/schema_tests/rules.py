"""The rules by which a table refuses rows: its keys, its unique and check constraints."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy import exc

from . import assertions
from .assertions import ModelDatabase, require
from .checks import checks, name_of

Break = Callable[[ModelDatabase], exc.DBAPIError | None]
DomainError = Callable[[Any], Exception | None]
"""What an adapter makes of an IntegrityError: an error of the domain, or None if it has none."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One of them."""

    label: str
    table: sa.Table
    name: str | None
    """The server's name of it; None if the server has made one up."""
    violate: Break
    """Tries to break it; returns how it was refused, or None if it was not."""
    certain: bool = True
    """Whether it is known how to break it."""
    kind: Literal["constraint", "index"] = "constraint"

    def holds(self, subject: ModelDatabase) -> None:
        """It is in the catalog, and it refuses what it should."""
        if self.name:
            assertions.matches_models(subject, self.table, self.kind, self.name)
        error = self.violate(subject)
        require(error or not self.certain, f"{self.table} takes a row that breaks {self.label}")
        refused = error is None or isinstance(error, exc.IntegrityError)
        require(refused, f"a row that breaks {self.label} is refused for something else: {error}")

    def is_known(self, subject: ModelDatabase, domain_error: DomainError) -> None:
        """Whoever breaks it is told so, and not that the service has failed."""
        error = self.violate(subject)
        require(
            error is None or domain_error(error),
            f"the adapter has no error of the domain for {self.name or self.label} of {self.table}",
        )


def rules(table: sa.Table) -> Iterator[Rule]:
    """Yield a table's unique and check constraints."""
    for each in sorted(table.constraints, key=_name_of):
        columns = list(getattr(each, "columns", ()))
        if isinstance(each, sa.PrimaryKeyConstraint) and columns:
            yield _unique("primary-key", table, each, columns)
        elif isinstance(each, sa.UniqueConstraint):
            yield _unique(f"unique-{joined(columns)}", table, each, columns)
    for index in sorted(table.indexes, key=_name_of):
        if index.unique:
            yield _unique_index(table, index)
    for number, check in enumerate(checks(table), 1):
        label = f"check-{short(check.name, table) if check.name else number}"
        violate = partial(assertions.violation, table=table, check=check)
        yield Rule(label, table, check.name, violate, certain=False)


def reference(table: sa.Table, key: sa.ForeignKeyConstraint) -> Rule:
    """Return the rule that what a foreign key refers to is there."""
    label = f"foreign-key-{joined(key.columns)}"
    return Rule(label, table, name_of(key), partial(assertions.orphan, table=table, key=key))


def joined(columns: Any) -> str:
    """Return the names of columns as a part of a test's id."""
    return "+".join(column.name for column in columns)


def short(name: object, table: sa.Table) -> str:
    """Return a name without what a naming convention puts before the part that tells them apart."""
    _, _, rest = str(name).rpartition(f"{table.name}_")
    return rest or str(name)


def _unique(
    label: str, table: sa.Table, constraint: sa.Constraint, columns: list[sa.Column[Any]]
) -> Rule:
    violate = partial(assertions.duplicate, table=table, columns=columns)
    certain = all(map(assertions.writable, columns))
    return Rule(label, table, name_of(constraint), violate, certain)


def _unique_index(table: sa.Table, index: sa.Index) -> Rule:
    columns = list(index.columns)
    # An expression may tell apart what a predicate leaves out anyway.
    certain = (
        all(isinstance(each, sa.Column) and assertions.writable(each) for each in index.expressions)
        and index.dialect_options["postgresql"]["where"] is None
    )
    violate = partial(assertions.duplicate, table=table, columns=columns)
    label = f"unique-{short(index.name, table)}"
    return Rule(label, table, name_of(index), violate, certain, kind="index")


def _name_of(of: sa.Constraint | sa.Index) -> str:
    return str(of.name)
