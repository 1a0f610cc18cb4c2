"""Schema tests, derived from a service's models: do its migrations create what they describe?

    from stratakit.testing import schema

    from billing import models

    test_schema = schema.suite(models.Base)

Each case runs on the migrated database, in a transaction that is rolled back.
"""

from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import pytest
import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.orm import DeclarativeBase

from ..factories.checks import checks, name_of
from ..factories.constraints import BuildError, columns_of, writable
from ..factories.values import in_postgresql
from . import assertions, catalog
from .assertions import ModelDatabase, require
from .catalog import Kind

T = TypeVar("T")

ROW = "row"
"""Case of each table on which its other cases depend: a row of it can be generated."""
NOTHING = catalog.Catalog({}, {}, "")
"""Empty catalog, for assertions that do not use it."""

Proof = Callable[[ModelDatabase], None]
DomainError = Callable[[Any], Exception | None]
"""An adapter's function that maps an IntegrityError to a domain error, or to None without one."""


@dataclass(frozen=True, slots=True)
class Case:
    """An assertion about the schema, and the ID of its test."""

    id: str
    proof: Proof
    table: sa.Table | None = None
    """Table of which the assertion needs rows, if any."""


def suite(
    models: type[DeclarativeBase] | sa.MetaData, *, domain_error: DomainError | None = None
) -> Callable[..., Awaitable[None]]:
    """Return a test with a case for each property that the models define for a table.

    Args:
        models: the models' base class, or their metadata.
        domain_error: the function of the service's adapter that maps an IntegrityError. If given,
            every unique and every check constraint must have a domain error.
    """
    metadata = models if isinstance(models, sa.MetaData) else models.metadata
    catalogs: dict[sa.URL, catalog.Catalog] = {}
    unbuilt: dict[tuple[sa.URL, sa.Table], BuildError | None] = {}

    @pytest.mark.parametrize("case", cases(metadata, domain_error), ids=lambda case: str(case.id))
    async def test_schema(case: Case, postgres_engine: AsyncEngine) -> None:
        url, table = postgres_engine.url, case.table
        if url not in catalogs:
            catalogs[url] = await undone(postgres_engine, partial(catalog.read, metadata=metadata))
        if table is not None and (url, table) not in unbuilt:
            unbuilt[url, table] = await undone(postgres_engine, partial(why_unbuilt, table=table))
        if table is not None and (error := unbuilt[url, table]):
            # Reported once, by the row case of the table at fault.
            if error.table is table and case.id == f"{table}-{ROW}":
                pytest.fail(str(error), pytrace=False)
            pytest.skip(f"it needs a row of {error.table}: see the case {error.table}-{ROW}")
        await undone(postgres_engine, partial(prove, case=case, known=catalogs[url]))

    return test_schema


def why_unbuilt(connection: sa.Connection, table: sa.Table) -> BuildError | None:
    """Return why no row of a table can be generated, or None if one can."""
    try:
        ModelDatabase(connection, NOTHING).insert(table)
    except BuildError as error:
        return error
    return None


async def undone(engine: AsyncEngine, action: Callable[[sa.Connection], T]) -> T:
    """Call a function in a transaction that is rolled back; return its result."""
    async with engine.connect() as connection, connection.begin() as transaction:
        result = await connection.run_sync(action)
        await transaction.rollback()
        return result


def prove(connection: sa.Connection, case: Case, known: catalog.Catalog) -> None:
    """Check the assertion of a case on a database.

    Raises:
        AssertionError: it does not hold.
    """
    connection.execute(assertions.IMMEDIATE)
    case.proof(ModelDatabase(connection, known))


def cases(metadata: sa.MetaData, domain_error: DomainError | None = None) -> list[Case]:
    """Return the assertions about a database with these tables."""
    found = [Case("nothing-else", assertions.no_other_table)]
    found += [
        Case(f"{each.name}-labels", partial(assertions.matches_models, of=each, kind="type"))
        for each in catalog.enums(metadata)
    ]
    for name, table in sorted(metadata.tables.items()):
        found += [Case(f"{name}-{what}", proof) for what, proof in _of_catalog(table)]
        found += [Case(f"{name}-{what}", proof, table) for what, proof in _of(table, domain_error)]
    return found


def _of_catalog(table: sa.Table) -> Iterator[tuple[str, Proof]]:
    yield "columns", partial(assertions.matches_models, of=table, kind="table column")
    yield "nothing-else", partial(assertions.no_other_part, table=table)
    for index in sorted(table.indexes, key=lambda index: str(index.name)):
        if not index.unique:
            proof = partial(assertions.matches_models, of=table, kind="index", name=str(index.name))
            yield f"index-{_short(index.name, table)}", proof


def _of(table: sa.Table, domain_error: DomainError | None) -> Iterator[tuple[str, Proof]]:
    yield ROW, partial(assertions.builds, table=table)
    for column in table.columns:
        for what, applies, proof in _OF_COLUMNS:
            if applies(column):
                yield f"{what}-{column.name}", partial(proof, table=table, column=column)
    for rule in _rules(table):
        yield rule.label, rule.holds
        if domain_error:
            proof = partial(rule.is_known, domain_error=domain_error)
            yield f"{rule.label}-is-an-error-of-the-domain", proof
    for key in sorted(table.foreign_key_constraints, key=lambda key: _joined(key.columns)):
        violate = partial(assertions.orphan, table=table, key=key)
        label = f"foreign-key-{_joined(key.columns)}"
        yield label, Rule(label, table, name_of(key), violate).holds
        if table.primary_key:
            action = (key.ondelete or "restrict").lower().replace(" ", "-")
            proof = partial(assertions.deletion, table=table, key=key)
            yield f"on-delete-{action}-{_joined(key.columns)}", proof


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule by which a table rejects rows: a key, a unique or check constraint, a unique index."""

    label: str
    table: sa.Table
    name: str | None
    """Name of it in the database; None if the server has generated one."""
    violate: Callable[[ModelDatabase], exc.DBAPIError | None]
    """Function that tries to break it; returns the error, or None if the row was accepted."""
    certain: bool = True
    """Whether a row that breaks it is known."""
    kind: Kind = "table constraint"

    def holds(self, subject: ModelDatabase) -> None:
        """Assert that it is in the catalog and rejects what it should."""
        if self.name:
            assertions.matches_models(subject, self.table, self.kind, self.name)
        error = self.violate(subject)
        require(error or not self.certain, f"{self.table} takes a row that breaks {self.label}")
        refused = error is None or isinstance(error, exc.IntegrityError)
        require(refused, f"a row that breaks {self.label} is rejected for another reason: {error}")

    def is_known(self, subject: ModelDatabase, domain_error: DomainError) -> None:
        """Assert that breaking it results in a domain error instead of a failure of the service."""
        error = self.violate(subject)
        require(
            error is None or domain_error(error),
            f"the adapter has no domain error for {self.name or self.label} of {self.table}",
        )


def _rules(table: sa.Table) -> Iterator[Rule]:
    """Yield the rules of a table, except its foreign keys."""
    for each in sorted(table.constraints, key=lambda each: str(each.name)):
        columns = list(getattr(each, "columns", ()))
        if isinstance(each, sa.PrimaryKeyConstraint | sa.UniqueConstraint) and columns:
            primary = isinstance(each, sa.PrimaryKeyConstraint)
            label = "primary-key" if primary else f"unique-{_joined(columns)}"
            violate = partial(assertions.duplicate, table=table, columns=columns)
            certain = all(map(writable, columns))
            yield Rule(label, table, name_of(each), violate, certain)
    for index in sorted(table.indexes, key=lambda index: str(index.name)):
        if index.unique:
            # Rows with equal columns may differ in an expression, or be excluded by a predicate.
            certain = (
                all(isinstance(each, sa.Column) for each in index.expressions)
                and all(map(writable, index.columns))
                and index.dialect_options["postgresql"]["where"] is None
            )
            violate = partial(assertions.duplicate, table=table, columns=columns_of(index))
            label = f"unique-{_short(index.name, table)}"
            yield Rule(label, table, name_of(index), violate, certain, kind="index")
    for number, check in enumerate(checks(table), 1):
        label = f"check-{_short(check.name, table) if check.name else number}"
        violate = partial(assertions.broken_check, table=table, check=check)
        yield Rule(label, table, check.name, violate, certain=False)


def _joined(columns: Iterable[sa.Column[Any]]) -> str:
    """Return the names of columns as a part of a test's ID."""
    return "+".join(str(column.name) for column in columns)


def _short(name: object, table: sa.Table) -> str:
    """Return a name without the prefix that a naming convention adds."""
    _, _, rest = str(name).rpartition(f"{table.name}_")
    return rest or str(name)


def _filled_in(column: sa.Column[Any]) -> bool:
    if column.computed is not None and column.nullable:
        # It is null if the columns that it is computed from are.
        return False
    return column.server_default is not None or column.table.autoincrement_column is column


def _structured(column: sa.Column[Any]) -> bool:
    return writable(column) and isinstance(in_postgresql(column.type), (sa.JSON, sa.ARRAY))


def _stamped(column: sa.Column[Any]) -> bool:
    return assertions.moving(column) and bool(column.table.primary_key)


def _never_null(column: sa.Column[Any]) -> bool:
    return not column.nullable and writable(column)


_OF_COLUMNS: tuple[tuple[str, Callable[[sa.Column[Any]], bool], Callable[..., None]], ...] = (
    ("not-null", _never_null, assertions.not_null),
    ("default", _filled_in, assertions.default),
    ("moves", _stamped, assertions.changes_on_update),
    ("round-trip", _structured, assertions.round_trip),
)
"""Kinds of cases for columns, the columns that they apply to, and their assertions."""
