"""Partitioned tables: which rows one of their partitions takes, as the server says."""

import sqlalchemy as sa
from sqlglot.errors import SqlglotError

from . import conditions
from .checks import Check

_BOUNDS = sa.text("""
    SELECT pg_get_partition_constraintdef(relid) FROM pg_partition_tree(to_regclass(:name))
    WHERE isleaf AND level > 0 LIMIT 12
""")
"""A dozen is enough to choose from."""
_DEFAULT = "(NOT ("
"""How the bounds of a default partition begin: it takes what is in none of the others."""


def key_of(table: sa.Table) -> str:
    """Return by what a table is partitioned, as `RANGE (at)`; "" if it is not."""
    return str(table.dialect_options["postgresql"]["partition_by"] or "")


def checks_of(connection: sa.Connection | None, table: sa.Table) -> tuple[Check, ...]:
    """Return what rows of a table must meet for one of its partitions to take them."""
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
