"""The CHECK constraints of a table, and what they ask of the values of a row."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import cache
from itertools import chain

import sqlalchemy as sa

from . import conditions
from .conditions import ColumnConstraints

# Of the driver that doubles no percent sign.
DIALECT: sa.Dialect = sa.make_url("postgresql+asyncpg://").get_dialect()()


@dataclass(frozen=True, slots=True)
class Check:
    """One CHECK constraint; where it cannot be read, it has neither columns nor literals."""

    name: str | None
    text: str
    tree: conditions.Node | None

    @property
    def columns(self) -> set[str]:
        """The names of the columns that it is about."""
        return conditions.columns(self.tree) if self.tree else set()

    @property
    def literals(self) -> list[object]:
        """The values that it names."""
        return conditions.literals(self.tree) if self.tree else []


def name_of(part: sa.Constraint | sa.Index) -> str | None:
    """Return the name that a part of a table has in the models, or None if the server names it."""
    # In the place of no name there may be an object that says so.
    return str(part.name) if isinstance(part.name, str) else None


@cache
def checks(table: sa.Table) -> tuple[Check, ...]:
    """Return the CHECK constraints of a table and of its columns, which keep their own."""
    every = chain(table.constraints, *(column.constraints for column in table.columns))
    found = (_read(each) for each in every if isinstance(each, sa.CheckConstraint))
    return tuple(sorted(found, key=lambda check: check.text))


def _read(constraint: sa.CheckConstraint) -> Check:
    options = {"literal_binds": True}
    text = str(constraint.sqltext.compile(dialect=DIALECT, compile_kwargs=options))
    return Check(name_of(constraint), text, conditions.parsed(text))


def demands(
    table: sa.Table, known: Mapping[str, object], filled: AbstractSet[str] = frozenset()
) -> dict[str, ColumnConstraints]:
    """Return what the checks of a table ask of the columns whose values are not known.

    A check which what is known breaks asks for nothing: to refuse the row is the server's part.

    Args:
        table: the table.
        known: the values, by the names of their columns.
        filled: names of the columns that will have a value though they may be null.
    """
    nulls = {each.name for each in table.columns if each.nullable and not each.server_default}
    wanted = conditions.ConstraintSolver(known, nulls - filled)
    for check in checks(table):
        if check.tree:
            wanted.add(check.tree)
    return wanted.demands
