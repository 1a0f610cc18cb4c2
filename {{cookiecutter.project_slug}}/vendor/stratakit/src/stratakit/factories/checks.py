"""CHECK constraints of a table, and the requirements they put on the values of a row.

Supported are comparisons of a column, or its length, with a literal or another column by operators,
BETWEEN, IN, LIKE, IS NULL and num_nonnulls, and their combinations with AND, OR, NOT, CASE, and `=`
between two conditions. Anything else counts as satisfied: the server checks each row anyway.
"""

import datetime as dt
import operator
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache
from itertools import chain
from typing import Any
from uuid import UUID

import sqlalchemy as sa
import sqlglot
from sqlglot import exp

from . import conditions
from .conditions import Node

# asyncpg's, since its dialect does not double percent signs.
DIALECT: sa.Dialect = sa.make_url("postgresql+asyncpg://").get_dialect()()

_SIGNS: dict[type[Node], str] = {
    exp.EQ: "=",
    exp.NEQ: "<>",
    exp.LT: "<",
    exp.LTE: "<=",
    exp.GT: ">",
    exp.GTE: ">=",
}
_FLIPPED = {"=": "=", "<>": "<>", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
_HOLDS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_LENGTHS = ("octet_length", "cardinality")
"""Length functions that sqlglot has no class for."""
_CASES: dict[type[Node], Callable[[str], str]] = {exp.Lower: str.lower, exp.Upper: str.upper}


@dataclass(slots=True)
class ColumnConstraints:
    """Requirements on the value of one column; initially none."""

    required: bool = False
    """Whether it must not be null."""
    low: list[tuple[object, bool]] = field(default_factory=list)
    """Lower bounds, and whether each is exclusive."""
    high: list[tuple[object, bool]] = field(default_factory=list)
    """Upper bounds, and whether each is exclusive."""
    choices: list[object] | None = None
    excluded: list[object] = field(default_factory=list)
    shortest: int = 0
    longest: int | None = None
    like: list[str] = field(default_factory=list)
    case: Callable[[str], str] | None = None

    def compare(self, sign: str, value: object) -> None:
        """Require that the value compares with another by the operator `sign`."""
        if sign == "=":
            self.choose([value])
        elif sign == "<>":
            self.excluded.append(value)
        else:
            (self.high if "<" in sign else self.low).append((value, "=" not in sign))

    def choose(self, values: list[object]) -> None:
        """Require that the value is one of several."""
        if self.choices is not None:
            values = [each for each in self.choices if each in values]
        self.choices = values

    def measure(self, sign: str, length: int) -> None:
        """Require that the value's length compares with `length` by the operator `sign`."""
        if sign in {">", ">=", "="}:
            self.shortest = max(self.shortest, length + (sign == ">"))
        if sign in {"<", "<=", "="}:
            length -= sign == "<"
            self.longest = length if self.longest is None else min(self.longest, length)
        if (sign, length) == ("<>", 0):
            self.shortest = max(self.shortest, 1)


@dataclass(frozen=True, slots=True)
class Check:
    """CHECK constraint; one that cannot be parsed has neither columns nor literals."""

    name: str | None
    text: str
    tree: Node | None

    @property
    def columns(self) -> set[str]:
        """Names of the columns that it mentions."""
        return {each.name for each in self.tree.find_all(exp.Column)} if self.tree else set()

    @property
    def literals(self) -> list[object]:
        """Literals that it contains."""
        found = self.tree.find_all(exp.Literal, exp.Neg) if self.tree else ()
        return [_literal(each) for each in found]


def name_of(part: sa.Constraint | sa.Index) -> str | None:
    """Return the name of a constraint or index in the models, or None if the server names it."""
    # SQLAlchemy may use a marker object in place of a missing name.
    return str(part.name) if isinstance(part.name, str) else None


@cache
def checks(table: sa.Table) -> tuple[Check, ...]:
    """Return the CHECK constraints of a table and of its columns."""
    every = chain(table.constraints, *(column.constraints for column in table.columns))
    found = (_read(each) for each in every if isinstance(each, sa.CheckConstraint))
    return tuple(sorted(found, key=lambda check: check.text))


def literal(text: str) -> object | None:
    """Return the value of an SQL literal, possibly with a cast; None if it is not a literal."""
    try:
        found = _literal(sqlglot.parse_one(text, dialect="postgres"))
    except sqlglot.errors.SqlglotError:
        return None
    return None if found is _UNKNOWN else found


def _read(constraint: sa.CheckConstraint) -> Check:
    options = {"literal_binds": True}
    text = str(constraint.sqltext.compile(dialect=DIALECT, compile_kwargs=options))
    try:
        tree = conditions.read(text)
    except sqlglot.errors.SqlglotError:
        tree = None
    return Check(name_of(constraint), text, tree)


def demands(
    table: sa.Table,
    known: Mapping[str, object],
    filled: AbstractSet[str] = frozenset(),
    more: Sequence[Check] = (),
) -> dict[str, ColumnConstraints]:
    """Return the requirements that a table's checks put on columns with unknown values.

    A check violated by known values requires nothing: it is up to the server to reject the row.

    Args:
        table: the table.
        known: known values, by column name.
        filled: names of nullable columns that will get a value.
        more: checks to apply besides those of the table.
    """
    solver, _ = _solved(table, known, filled, more)
    return solver.demands


def breaks(
    table: sa.Table,
    known: Mapping[str, object],
    column: str,
    filled: AbstractSet[str],
    more: Sequence[Check] = (),
) -> bool:
    """Return whether a check on a column rejects a row, whatever its unknown values will be."""
    _, broken = _solved(table, known, filled, more)
    return any(column in each.columns for each in broken)


def _solved(
    table: sa.Table,
    known: Mapping[str, object],
    filled: AbstractSet[str],
    more: Sequence[Check],
) -> tuple["ConstraintSolver", list[Check]]:
    """Return the solved requirements on a row, and the checks that its known values violate."""
    nulls = {each.name for each in table.columns if each.nullable and not each.server_default}
    solver, every = ConstraintSolver(known, nulls - filled), (*checks(table), *more)
    return solver, [each for each in every if each.tree and not solver.add(each.tree)]


class ConstraintSolver:
    """Solver that collects requirements on unknown values.

    Each public method reads one kind of condition, and returns False if known values violate it. If
    all values are known, that result alone matters.
    """

    def __init__(self, known: Mapping[str, object], nulls: AbstractSet[str]) -> None:
        """Take the known values, and the columns that stay null unless a value is required."""
        self.demands: dict[str, ColumnConstraints] = {}
        self._known = known
        self._nulls = nulls

    def add(self, node: Node) -> bool:
        """Add the requirements of a condition."""
        node = node.unnest()
        reader = _READERS.get(type(node))
        return reader(self, node) if reader else True

    def all_of(self, node: Node) -> bool:
        """Read AND: each of its parts, even after a violated one."""
        return all(list(map(self.add, node.flatten())))

    def one_of(self, node: Node) -> bool:
        """Read OR: the first part that holds already, else the first that can hold."""
        possible = []
        for part in node.flatten():
            alone = ConstraintSolver(self._known, self._nulls)
            if alone.add(part):
                if not alone.demands:
                    return True
                possible.append(part)
        return bool(possible) and self.add(possible[0])

    def none_of(self, node: Node) -> bool:
        """Read NOT."""
        inner = node.this.unnest()
        reader = _NEGATED_READERS.get(type(inner))
        return reader(self, inner) if reader else True

    def null(self, node: Node, *, holds: bool = True) -> bool:
        """Read IS NULL, which holds for a column left null, or IS NOT NULL."""
        column = node.this.unnest()
        if not isinstance(node.expression, exp.Null) or not isinstance(column, exp.Column):
            return True
        if column.name in self._known:
            return (self._known[column.name] is None) is holds
        if holds:
            return column.name in self._nulls
        self._demand(column).required = True
        return True

    def among(self, node: Node) -> bool:
        """Read IN."""
        return self._among(node.this, node.expressions)

    def not_among(self, node: Node) -> bool:
        """Read NOT IN."""
        return all(self._against(node.this, "<>", each) for each in node.expressions)

    def like(self, node: Node, *, holds: bool = True) -> bool:
        """Read LIKE or NOT LIKE; NOT LIKE requires nothing of an unknown value."""
        column, pattern = _bare(node.this), _literal(node.expression)
        known = self._value(column)
        if isinstance(pattern, str) and isinstance(known, str):
            return (
                bool(
                    conditions.regex(pattern, ignores_case=isinstance(node, exp.ILike)).fullmatch(
                        known
                    )
                )
                is holds
            )
        if isinstance(pattern, str) and isinstance(column, exp.Column) and holds:
            self._demand(column).like.append(pattern)
        return True

    def compared(self, node: Node) -> bool:
        """Read a comparison, including `= ANY (...)`."""
        right = node.expression.unnest()
        if isinstance(node, exp.EQ) and isinstance(right, exp.Any):
            return self._among(node.this, _bare(right.this).expressions)
        return self._against(node.this, _SIGNS[type(node)], right)

    def _against(self, left: Node, sign: str, right: Node) -> bool:
        """Compare two sides, either of which may be the known one."""
        left, right = _bare(left), _bare(right)
        for side, other, way in ((left, right, sign), (right, left, _FLIPPED[sign])):
            value = self._value(other)
            if value is not _UNKNOWN:
                return self.compare(side, way, value)
            if sign == "=" and type(side) in _CASES and side.this == other:
                self._demand(other).case = _CASES[type(side)]
        return True

    def compare(self, subject: Node, sign: str, value: object) -> bool:
        """Compare a side that may still be unknown with a value."""
        known = self._value(subject)
        if known is not _UNKNOWN:
            return _holds(known, sign, value)
        measured = _measured(subject)
        if isinstance(subject, exp.Column) and value is not None:
            self._demand(subject).compare(sign, value)
        elif measured and isinstance(value, int):
            self._demand(measured).measure(sign, value)
        elif _called(subject) == "num_nonnulls" and isinstance(value, int):
            return self._count(subject, sign, value)
        return True

    def _among(self, subject: Node, values: list[Node]) -> bool:
        column, literals = _bare(subject), list(map(_literal, values))
        known = self._value(column)
        if known is not _UNKNOWN:
            return any(_holds(known, "=", each) for each in literals)
        if isinstance(column, exp.Column) and _UNKNOWN not in literals:
            self._demand(column).choose(literals)
        return True

    def _count(self, subject: Node, sign: str, number: int) -> bool:
        """Require as few non-null columns as num_nonnulls allows."""
        columns = [each for each in subject.expressions if isinstance(each, exp.Column)]
        unknown = [each for each in columns if each.name not in self._known]
        there = sum(self._known.get(each.name) is not None for each in columns)
        for more in range(len(unknown) + 1):
            if _HOLDS[sign](there + more, number):
                for column in unknown[:more]:
                    self._demand(column).required = True
                return True
        return False

    def _value(self, node: Node) -> object:
        """Return the known value of one side of a comparison, or `_UNKNOWN`."""
        if isinstance(node, exp.Column):
            return self._known.get(node.name, _UNKNOWN)
        if not (measured := _measured(node)):
            return _literal(node)
        known = self._known.get(measured.name, _UNKNOWN)
        return len(known) if isinstance(known, (str, bytes, list)) else _UNKNOWN

    def _demand(self, column: Node) -> ColumnConstraints:
        return self.demands.setdefault(column.name, ColumnConstraints())


class _Unknown:
    """Type of the marker for an unknown value."""


_UNKNOWN = _Unknown()

_READERS: dict[type[Node], Callable[[ConstraintSolver, Node], bool]] = {
    exp.And: ConstraintSolver.all_of,
    exp.Or: ConstraintSolver.one_of,
    exp.Not: ConstraintSolver.none_of,
    # A boolean column used as a condition.
    exp.Column: lambda wanted, node: wanted.compare(node, "=", value=True),
    exp.Is: ConstraintSolver.null,
    exp.In: ConstraintSolver.among,
    exp.Like: ConstraintSolver.like,
    exp.ILike: ConstraintSolver.like,
    **dict.fromkeys(_SIGNS, ConstraintSolver.compared),
}
_NEGATED_READERS: dict[type[Node], Callable[[ConstraintSolver, Node], bool]] = {
    exp.Not: lambda wanted, node: wanted.add(node.this),
    exp.Column: lambda wanted, node: wanted.compare(node, "=", value=False),
    exp.Is: lambda wanted, node: wanted.null(node, holds=False),
    exp.In: ConstraintSolver.not_among,
    **dict.fromkeys((exp.Like, exp.ILike), lambda wanted, node: wanted.like(node, holds=False)),
}


def _bare(node: Node) -> Node:
    """Return an operand without its parentheses, casts and trims."""
    while isinstance(node, exp.Paren | exp.Cast | exp.Trim):
        node = node.this
    return node


def _measured(node: Node) -> Node | None:
    """Return the column whose length a call returns."""
    inner = node.this if isinstance(node, exp.Length) else None
    if _called(node) in _LENGTHS:
        inner = node.expressions[0]
    column = inner and _bare(inner)
    return column if isinstance(column, exp.Column) else None


def _called(node: Node) -> str:
    """Return the name of the called function, if sqlglot has no class for it."""
    return str(node.this).lower() if isinstance(node, exp.Anonymous) else ""


def _literal(node: Node) -> object:
    """Return the value of a literal, or `_UNKNOWN`."""
    node = _bare(node)
    if isinstance(node, exp.Boolean):
        return bool(node.this)
    sign = -1 if isinstance(node, exp.Neg) else 1
    node = _bare(node.this) if isinstance(node, exp.Neg) else node
    if not isinstance(node, exp.Literal):
        return _UNKNOWN
    if node.is_string:
        return str(node.this)
    number = Decimal(node.this) * sign
    return int(number) if number == number.to_integral_value() else number


def _holds(known: object, sign: str, value: object) -> bool:
    """Compare two values; NULL, or types that do not compare here, count as satisfying a check."""
    if known is None or value is None:
        return True
    try:
        if isinstance(value, str) and type(known) in _WRITTEN:
            value = _WRITTEN[type(known)](value)
        return bool(_HOLDS[sign](known, value))
    except (TypeError, ValueError):
        return True


_WRITTEN: dict[type, Callable[[str], object]] = {
    UUID: UUID,
    **{each: each.fromisoformat for each in (dt.date, dt.datetime, dt.time)},
}
"""Parsers of the literals that are compared with values of a type."""
