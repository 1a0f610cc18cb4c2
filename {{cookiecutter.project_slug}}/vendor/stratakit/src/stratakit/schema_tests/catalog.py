"""Schema of a database and the schema that the models describe, as comparable facts.

For the latter, the models' tables are created in separate schemas, next to the real ones, in a
transaction that is rolled back. So PostgreSQL prints the defaults, expressions and types of both,
and equal texts mean equal things.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import sqlalchemy as sa
from sqlalchemy import exc, schema
from sqlalchemy.dialects import postgresql as pg

from ..database import MigrationError
from ..project import Service
from ..schema import fingerprint, named_types
from ..schema.fingerprint import Difference, Facts
from ..schema.verify import load_metadata

PROBE = "strata_probe_"
"""Prefix of the schemas in which the models' tables are created."""
Kind = Literal["table column", "table constraint", "index", "type"]

# Quotes depend on the name of the schema, which differs; models cannot express the rest.
_LEFT_OUT = re.compile(r'"| (STORAGE|COMPRESSION|OWNER) \S+| (CLUSTER|REPLICA IDENTITY)\b')


@dataclass(frozen=True, slots=True)
class Catalog:
    """Facts of a database as it is, and as the models describe it."""

    found: Facts
    wanted: Facts
    default: str
    """Schema of tables that do not name one."""

    def differences(
        self, of: sa.Table | pg.ENUM, kind: Kind, name: str | None = None
    ) -> list[Difference]:
        """Return how a type or a part of a table differs; without a name, each part of a kind."""
        home, whole = of.schema or self.default, f"{of.schema or self.default}.{of.name}"
        if kind == "type":
            keys = {f"type {whole}"}
        elif name:
            keys = {f"{kind} {home}.{name}" if kind == "index" else f"{kind} {name} on {whole}"}
        else:
            every = {**self.found, **self.wanted}.items()
            parts = (key for key, fact in every if fact.part_of == f"table {whole}")
            keys = {key for key in parts if key.startswith(f"{kind} ")}
        return fingerprint.compare(
            {key: self.wanted[key] for key in keys & self.wanted.keys()},
            {key: self.found[key] for key in keys & self.found.keys()},
        )

    @property
    def other_tables(self) -> list[str]:
        """Tables and enums that the models do not have; partitions are parts of a table."""
        return sorted(
            fact.name
            for key, fact in self.found.items()
            if key not in self.wanted
            and fact.part_of in self.wanted
            and (
                (fact.kind == "table" and "PARTITION OF " not in fact.definition)
                or (fact.kind == "type" and fact.definition.startswith("ENUM "))
            )
        )


def read(connection: sa.Connection, metadata: sa.MetaData) -> Catalog:
    """Read a database's catalog, and that of the models; the transaction must be rolled back.

    Raises:
        ProgrammingError: the models' tables cannot be created.
    """
    default = sa.inspect(connection).default_schema_name or "public"
    schemas = {table.schema or default for table in metadata.tables.values()} | {default}
    translated = {name: PROBE + (name or default) for name in (None, *schemas)}
    for name in schemas:
        connection.execute(schema.CreateSchema(PROBE + name))
    for statement in _statements(metadata):
        connection.execute(statement, execution_options={"schema_translate_map": translated})
    sides: dict[bool, list[list[str | None]]] = {False: [], True: []}
    for row in rows(connection):
        cells = [cell and _LEFT_OUT.sub("", cell).replace(PROBE, "") for cell in row]
        sides[PROBE in row.name].append(cells)
    return Catalog(fingerprint.by_key(sides[False]), fingerprint.by_key(sides[True]), default)


def forgotten(connection: sa.Connection, service: Service) -> list[Difference] | None:
    """Return what a service's models have and a migrated database lacks.

    Unlike `verify.forgotten`, it needs no extra databases, but ignores what the models' events add.
    The transaction must be rolled back. None is returned if the models cannot be created.
    """
    try:
        catalog = read(connection, load_metadata(service.metadata))
    # What the models cannot express is not a reason for every test to fail.
    except (MigrationError, exc.DBAPIError):
        return None
    return [
        each
        for each in fingerprint.compare(catalog.wanted, catalog.found)
        # A table itself can only be changed by events, which may enable row level security.
        if each.change == "missing" or (each.change == "changed" and each.kind in get_args(Kind))
    ]


def rows(connection: sa.Connection) -> Sequence[sa.Row[Any]]:
    """Return the rows that `fingerprint.by_key` converts to facts, within any open transaction."""
    with connection.begin_nested() as savepoint:
        connection.exec_driver_sql(fingerprint.SET_ALL)
        query = fingerprint.QUERY.decode()
        found = connection.exec_driver_sql(query, execution_options={"no_parameters": True}).all()
        savepoint.rollback()
    return found


def enums(metadata: sa.MetaData) -> list[pg.ENUM]:
    """Return the enums of the models' columns."""
    return [each for each in named_types.of(metadata) if isinstance(each, pg.ENUM)]


def _statements(metadata: sa.MetaData) -> Iterator[schema.ExecutableDDLElement]:
    """Yield statements that create the models' tables, without what their events would add."""
    for type_ in named_types.of(metadata):
        enum = isinstance(type_, pg.ENUM)
        yield pg.CreateEnumType(type_) if enum else pg.CreateDomainType(type_)
    tables = metadata.tables.values()
    for table in tables:
        yield schema.CreateTable(table, include_foreign_key_constraints=[])
    for table in tables:
        for key in table.foreign_key_constraints:
            # Isolating the key would remove it from all later creations of the table.
            yield schema.AddConstraint(key, isolate_from_table=False)
        for index in table.indexes:
            yield schema.CreateIndex(index)
