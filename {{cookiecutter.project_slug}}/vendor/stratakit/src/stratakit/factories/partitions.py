"""Partitioned tables: the bounds of rows that their partitions accept, read from the server."""

import sqlalchemy as sa
from sqlglot.errors import SqlglotError

from . import conditions
from .checks import Check

_BOUNDS = sa.text("""
    SELECT pg_get_partition_constraintdef(relid) FROM pg_partition_tree(to_regclass(:name))
    WHERE isleaf AND level > 0 LIMIT 12
""")
"""Query for the bounds of a dozen partitions, which is enough to choose from."""
_DEFAULT = "(NOT ("
"""Prefix of the bounds of a default partition, which accepts all rows of no other partition."""


def key_of(table: sa.Table) -> str:
    """Return the partition key of a table, such as `RANGE (at)`; "" if it has none."""
    return str(table.dialect_options["postgresql"]["partition_by"] or "")


def checks_of(connection: sa.Connection | None, table: sa.Table) -> tuple[Check, ...]:
    """Return the checks that a row must satisfy to be accepted by a partition of a table."""
    if not connection or not key_of(table):
        return ()
    quoted = connection.dialect.identifier_preparer.format_table(table)
    bounds = [str(each) for each in connection.scalars(_BOUNDS, {"name": quoted})]
    if any(each.startswith(_DEFAULT) for each in bounds):
        return ()
    text = " OR ".join(each for each in bounds if _DEFAULT not in each)
    try:
        return (Check(None, text, conditions.read(text)),) if text else ()
    except SqlglotError:
        return ()
