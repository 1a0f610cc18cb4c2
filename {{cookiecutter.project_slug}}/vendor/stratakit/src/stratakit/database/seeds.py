"""Rows that have to come back: tell whether they have changed, and bring back those that have.

A copy of them is kept in a temporary table. Each row bears the number of the transaction that
wrote it, which tells, with how many there are, what was written, without comparing any values.
Beside its values the copy has the place of each row, by which those that are gone are found.
"""

from typing import NamedTuple

from psycopg import sql

from .connection import Connection
from .relations import Table, View

ANY_BYTE = "surrogateescape"
"""How text is decoded and encoded: a database may hold any bytes, and they have to come back."""
_PLACE = '"strata part", "strata place"'
_KNOWN = "(age(xmin) > age(strata.since) OR coalesce(xmin = ANY (strata.mine), false))"
_CHANGED = """
    (SELECT count(*) <> {count} OR count(*) FILTER (WHERE {known}) <> {count} FROM {table})
"""
_DIFFERS = """EXISTS (
    (SELECT {row} FROM {table} EXCEPT ALL SELECT {row} FROM {kept})
    UNION ALL
    (SELECT {row} FROM {kept} EXCEPT ALL SELECT {row} FROM {table})
)"""
_DELETE = "DELETE FROM {table}"
_INSERT = "INSERT INTO {table} ({columns}) OVERRIDING SYSTEM VALUE SELECT {columns} FROM {source}"
_DELETE_CHANGED = "DELETE FROM {table} WHERE {known} IS NOT TRUE"
_INSERT_GONE = """
    WITH gone AS (
        DELETE FROM {kept} AS kept WHERE NOT EXISTS (
            SELECT FROM {table} AS own
            WHERE (own.tableoid, own.ctid) = (kept."strata part", kept."strata place")
        ) RETURNING {columns}
    ), back AS (
        {insert} RETURNING tableoid, ctid, {columns}
    ), noted AS (
        INSERT INTO {kept} ({place}, {columns}) SELECT * FROM back
    )
    SELECT EXISTS (SELECT {row} FROM gone EXCEPT ALL SELECT {row} FROM back) INTO strata.lost
"""
# Who has written them is known, though they may be newer than a transaction that is still open.
_KNOWN_BEFORE = """
    SELECT set_config('strata.mine', (
        coalesce(nullif(current_setting('strata.mine', true), ''), '{{}}')::xid[] || ARRAY(
            SELECT DISTINCT xmin::text FROM {table}
            WHERE age(xmin) <= age(current_setting('strata.since')::xid)
        )::xid[]
    )::text, false)
"""
OURS = "strata.mine := array_append(strata.mine, pg_current_xact_id()::xid)"
"""The statement of the function that has it know the rows which it writes."""


class Seed(NamedTuple):
    """The parts of SQL that bring back the rows of one table, or tell of a view that it differs."""

    changed: str
    """The condition that it was written to."""
    differs: str
    """The condition that its rows have other values, which takes long."""
    insert: str
    """The statement that inserts all of its rows."""
    restore: tuple[str, ...]
    """The statements that delete rows which were written, and insert those that are gone."""


def keep(connection: Connection, relation: Table | View, rows: str | None, count: int) -> Seed:
    """Copy rows to a temporary table of the session, to have them come back.

    Args:
        connection: that of the session.
        relation: what they belong to.
        rows: they, as COPY writes them; None for those that are there now.
        count: how many they are.
    """
    table, columns = relation.name, relation.columns
    kept = f"pg_temp.seeded_{relation.oid}"
    create = "CREATE TABLE {} AS SELECT tableoid AS {}, ctid AS {}, {} FROM {} WITH {} DATA"
    names = _PLACE.split(", ")
    data = "" if rows is None else "NO"
    connection.execute(sql.SQL(create.format(kept, *names, columns, table, data)))
    if rows is None:
        connection.execute(sql.SQL(_KNOWN_BEFORE.format(table=table)))
    else:
        copy_from = sql.SQL(f"COPY {kept} ({columns}) FROM STDIN")
        with connection.cursor().copy(copy_from) as copy:
            copy.write(rows.encode(errors=ANY_BYTE))
    parts = {
        "table": table,
        "columns": columns,
        "kept": kept,
        "count": count,
        "place": _PLACE,
        "known": _KNOWN,
        # As text: not every type, json for one, can be compared.
        "row": f"ROW({columns})::text",
    }
    differs = _DIFFERS.format(**parts)
    changed = _CHANGED.format(**parts)
    gone = _INSERT_GONE.format(**parts, insert=_INSERT.format(**parts, source="gone"))
    return Seed(
        # At first nobody knows who has written the rows of a database that was not ours.
        changed=f"(CASE WHEN strata.since IS NULL THEN {differs} ELSE {changed} END)",
        differs=differs,
        insert=_INSERT.format(**parts, source=kept),
        restore=(_DELETE_CHANGED.format(**parts), gone),
    )
