"""Seeded rows: detection of changes to them, and their restoration.

A copy of them is kept in a temporary table. Each row bears the ID of the transaction that wrote it;
together with the number of rows, it shows what was written without comparing any values. The copy
also has the location (ctid) of each row, by which missing rows are found.
"""

from typing import NamedTuple

from .connection import Connection, assembled
from .relations import Table, View

ANY_BYTE = "surrogateescape"
"""Error handler for decoding and encoding: a database may hold any bytes, which must survive."""
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
# Their transactions are known, although they may be newer than one that is still open.
_KNOWN_BEFORE = """
    SELECT set_config('strata.mine', (
        coalesce(nullif(current_setting('strata.mine', true), ''), '{{}}')::xid[] || ARRAY(
            SELECT DISTINCT xmin::text FROM {table}
            WHERE age(xmin) <= age(current_setting('strata.since')::xid)
        )::xid[]
    )::text, false)
"""
OURS = "strata.mine := array_append(strata.mine, pg_current_xact_id()::xid)"
"""Statement that lets the function recognize the rows that it writes itself."""


class Seed(NamedTuple):
    """SQL fragments that restore the rows of one table, or detect that a view differs."""

    changed: str
    """Condition that it was written to."""
    differs: str
    """Condition that its rows have other values, which is slow to evaluate."""
    insert: str
    """Statement that inserts all of its rows."""
    restore: tuple[str, ...]
    """Statements that delete the rows that were written, and insert the missing ones."""


def keep(connection: Connection, relation: Table | View, rows: str | None, count: int) -> Seed:
    """Copy rows to a temporary table of the session, to restore them later.

    Args:
        connection: the session's connection.
        relation: the table or view that they belong to.
        rows: the rows in COPY format; None for the current ones.
        count: the number of rows.
    """
    table, columns = relation.name, relation.columns
    kept = f"pg_temp.seeded_{relation.oid}"
    create = "CREATE TABLE {} AS SELECT tableoid AS {}, ctid AS {}, {} FROM {} WITH {} DATA"
    names = _PLACE.split(", ")
    data = "" if rows is None else "NO"
    connection.execute(assembled(create.format(kept, *names, columns, table, data)))
    if rows is None:
        connection.execute(assembled(_KNOWN_BEFORE.format(table=table)))
    else:
        copy_from = assembled(f"COPY {kept} ({columns}) FROM STDIN")
        with connection.cursor().copy(copy_from) as copy:
            copy.write(rows.encode(errors=ANY_BYTE))
    parts = {
        "table": table,
        "columns": columns,
        "kept": kept,
        "count": count,
        "place": _PLACE,
        "known": _KNOWN,
        # As text: some types, such as json, cannot be compared.
        "row": f"ROW({columns})::text",
    }
    differs = _DIFFERS.format(**parts)
    changed = _CHANGED.format(**parts)
    gone = _INSERT_GONE.format(**parts, insert=_INSERT.format(**parts, source="gone"))
    return Seed(
        # At first it is unknown who has written the rows of a database that was not ours.
        changed=f"(CASE WHEN strata.since IS NULL THEN {differs} ELSE {changed} END)",
        differs=differs,
        insert=_INSERT.format(**parts, source=kept),
        restore=(_DELETE_CHANGED.format(**parts), gone),
    )
