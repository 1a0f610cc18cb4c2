"""The tests that a service's tables get from their models: what its migrations made is right.

    from stratakit.testing import schema

    from billing import models

    test_schema = schema.suite(models.Base)

Each case looks at the migrated database, in a transaction that is rolled back.
"""

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.orm import DeclarativeBase

from .derived import assertions, catalog
from .derived.assertions import ModelDatabase
from .derived.rules import DomainError, joined, reference, rules, short
from .derived.values import in_postgresql

T = TypeVar("T")

Proof = Callable[[ModelDatabase], None]


@dataclass(frozen=True, slots=True)
class Case:
    """Something to be proven."""

    id: str
    proof: Proof


def suite(
    models: type[DeclarativeBase] | sa.MetaData, *, domain_error: DomainError | None = None
) -> Callable[..., Awaitable[None]]:
    """Return a test with a case for each property that the models give to a table.

    Args:
        models: the models' base class, or their metadata.
        domain_error: what the service's adapter makes of an IntegrityError. If it is given, there
            must be an error of the domain for every unique and every check constraint.
    """
    metadata = models if isinstance(models, sa.MetaData) else models.metadata
    catalogs: dict[sa.URL, catalog.Catalog] = {}

    @pytest.mark.parametrize("case", cases(metadata, domain_error), ids=lambda case: str(case.id))
    async def test_schema(case: Case, postgres_engine: AsyncEngine) -> None:
        url = postgres_engine.url
        if url not in catalogs:
            catalogs[url] = await undone(postgres_engine, partial(catalog.read, metadata=metadata))
        await undone(postgres_engine, partial(prove, case=case, known=catalogs[url]))

    return test_schema


async def undone(engine: AsyncEngine, action: Callable[[sa.Connection], T]) -> T:
    """Do something in a transaction that is rolled back; return what it returned."""
    async with engine.connect() as connection, connection.begin() as transaction:
        result = await connection.run_sync(action)
        await transaction.rollback()
        return result


def prove(connection: sa.Connection, case: Case, known: catalog.Catalog) -> None:
    """Prove one thing of a database.

    Raises:
        AssertionError: it is not so.
    """
    # What is checked when a transaction is committed would never be.
    connection.execute(sa.text("SET CONSTRAINTS ALL IMMEDIATE"))
    case.proof(ModelDatabase(connection, known))


def cases(metadata: sa.MetaData, domain_error: DomainError | None = None) -> list[Case]:
    """Return all that is to be proven of a database with these tables."""
    found = [Case("nothing-else", assertions.no_other_table)]
    found += [
        Case(f"{each.name}-labels", partial(assertions.matches_models, of=each, kind="type"))
        for each in catalog.named_types(metadata)
        if isinstance(each, pg.ENUM)
    ]
    for name, table in sorted(metadata.tables.items()):
        found += [Case(f"{name}-{what}", proof) for what, proof in _of(table, domain_error)]
    return found


def _of(table: sa.Table, domain_error: DomainError | None) -> Iterator[tuple[str, Proof]]:
    yield "columns", partial(assertions.matches_models, of=table, kind="column")
    yield "nothing-else", partial(assertions.no_other_part, table=table)
    for column in table.columns:
        for what, applies, proof in _OF_COLUMNS:
            if applies(column):
                yield f"{what}-{column.name}", partial(proof, table=table, column=column)
    for rule in rules(table):
        yield rule.label, rule.holds
        if domain_error:
            proof = partial(rule.is_known, domain_error=domain_error)
            yield f"{rule.label}-is-an-error-of-the-domain", proof
    for key in sorted(table.foreign_key_constraints, key=lambda key: joined(key.columns)):
        rule = reference(table, key)
        yield rule.label, rule.holds
        if table.primary_key:
            action = (key.ondelete or "restrict").lower().replace(" ", "-")
            proof = partial(assertions.deletion, table=table, key=key)
            yield f"on-delete-{action}-{joined(key.columns)}", proof
    for index in sorted(table.indexes, key=lambda index: str(index.name)):
        if not index.unique:
            proof = partial(assertions.matches_models, of=table, kind="index", name=str(index.name))
            yield f"index-{short(index.name, table)}", proof


def _filled_in(column: sa.Column[Any]) -> bool:
    return column.server_default is not None or column.table.autoincrement_column is column


def _structured(column: sa.Column[Any]) -> bool:
    return isinstance(in_postgresql(column.type), sa.JSON | sa.ARRAY)


def _stamped(column: sa.Column[Any]) -> bool:
    return assertions.moving(column) and bool(column.table.primary_key)


def _never_null(column: sa.Column[Any]) -> bool:
    return not column.nullable and assertions.writable(column)


_OF_COLUMNS: tuple[tuple[str, Callable[[sa.Column[Any]], bool], Callable[..., None]], ...] = (
    ("not-null", _never_null, assertions.not_null),
    ("default", _filled_in, assertions.default),
    ("moves", _stamped, assertions.changes_on_update),
    ("round-trip", _structured, assertions.round_trip),
)
"""The kinds of cases that columns have, the columns that have them, and how they are proven."""
