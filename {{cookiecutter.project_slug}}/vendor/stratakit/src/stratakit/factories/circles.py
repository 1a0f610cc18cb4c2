"""Circular foreign keys: rows that need each other, if one of the keys is deferrable."""

from collections.abc import Iterable
from functools import cache

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg


def deferrable(key: sa.ForeignKeyConstraint) -> bool:
    """Return whether a key may be violated until the end of the transaction."""
    return bool(key.deferrable or (key.initially or "").upper() == "DEFERRED")


@cache
def returns(key: sa.ForeignKeyConstraint) -> bool:
    """Return whether a referred row requires, directly or not, a row of the key's own table."""
    seen: set[sa.FromClause] = set()
    found = [key.referred_table]
    while found:
        table = found.pop()
        if table is key.table:
            return True
        if table not in seen:
            seen.add(table)
            found += [
                each.referred_table
                for each in table.foreign_key_constraints
                if not any(column.nullable for column in each.columns)
            ]
    return False


def defer(connection: sa.Connection | None, key: sa.ForeignKeyConstraint) -> None:
    """Defer the check of a key."""
    _set(connection, key, "DEFERRED")


def restore(connection: sa.Connection | None, keys: Iterable[sa.ForeignKeyConstraint]) -> None:
    """Check keys immediately again, except those that are initially deferred."""
    for key in keys:
        if (key.initially or "").upper() != "DEFERRED":
            _set(connection, key, "IMMEDIATE")


def _set(connection: sa.Connection | None, key: sa.ForeignKeyConstraint, when: str) -> None:
    if connection:
        quote = pg.dialect().identifier_preparer.quote
        parts = (key.table.schema, key.name)
        name = ".".join(quote(str(each)) for each in parts if each) if key.name else "ALL"
        connection.execute(sa.text(f"SET CONSTRAINTS {name} {when}"))
