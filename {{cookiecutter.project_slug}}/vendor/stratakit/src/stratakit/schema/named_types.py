"""Named types that models use: enums and domains, also in arrays."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from ..factories.checks import DIALECT

NamedType = pg.ENUM | pg.DOMAIN


def of(metadata: sa.MetaData) -> list[NamedType]:
    """Return the enums and domains of the models' columns, each once."""
    found: dict[str, NamedType] = {}
    for column in (column for table in metadata.tables.values() for column in table.columns):
        type_ = _native(column.type)
        while isinstance(type_, (sa.ARRAY, sa.types.TypeDecorator)):
            type_ = _native(type_.item_type if isinstance(type_, sa.ARRAY) else type_.impl_instance)
        if isinstance(type_, pg.ENUM | pg.DOMAIN):
            found[f"{type_.schema}.{type_.name}"] = type_
    return [found[name] for name in sorted(found)]


def _native(type_: sa.types.TypeEngine[Any]) -> sa.types.TypeEngine[Any]:
    """Return PostgreSQL's variant of a type."""
    # SQLAlchemy 2.1.0 would lose the check of a domain.
    return type_ if isinstance(type_, NamedType) else type_.dialect_impl(DIALECT)


def schemas(metadata: sa.MetaData) -> list[str]:
    """Return the schemas that the models name, except the default one."""
    parts = (*metadata.tables.values(), *of(metadata))
    return sorted({part.schema for part in parts if part.schema})


def create(type_: NamedType) -> str:
    """Return the statement that creates a type."""
    enum = isinstance(type_, pg.ENUM)
    statement = pg.CreateEnumType(type_) if enum else pg.CreateDomainType(type_)
    return str(statement.compile(dialect=DIALECT))


def quoted(type_: NamedType) -> str:
    """Return the name of a type, quoted for SQL."""
    preparer = DIALECT.identifier_preparer
    schema = f"{preparer.quote_schema(type_.schema)}." if type_.schema else ""
    return f"{schema}{preparer.quote(str(type_.name))}"


class Use(NamedTuple):
    """A column whose type is an enum, or an array of it."""

    table: str
    """Name of the table, quoted for SQL, with its schema."""
    column: str
    array: bool
    default: str | None


_LABELS = """
    SELECT array_agg(enumlabel::text ORDER BY enumsortorder)
    FROM pg_enum WHERE enumtypid = to_regtype(:name)
"""
_USES = """
    SELECT format('%I.%I', nspname, relname), quote_ident(attname), typcategory = 'A',
      CASE WHEN attgenerated = '' THEN pg_get_expr(adbin, adrelid) END
    FROM pg_attribute
    JOIN pg_class ON pg_class.oid = attrelid JOIN pg_namespace ON pg_namespace.oid = relnamespace
    JOIN pg_type ON pg_type.oid = atttypid
    LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
    WHERE to_regtype(:name) IN (pg_type.oid, pg_type.typelem) AND relkind IN ('r', 'p')
      AND NOT relispartition AND NOT attisdropped
    ORDER BY 1, attnum
"""


def labels(connection: sa.Connection, name: str) -> list[str]:
    """Return the labels of an enum in the database, in order; empty if there is no such enum."""
    found: list[str] | None = connection.scalar(sa.text(_LABELS), {"name": name})
    return found or []


def uses(connection: sa.Connection, name: str) -> Sequence[Use]:
    """Return the columns in the database whose type is an enum, except those of partitions."""
    return [Use(*row) for row in connection.execute(sa.text(_USES), {"name": name})]
