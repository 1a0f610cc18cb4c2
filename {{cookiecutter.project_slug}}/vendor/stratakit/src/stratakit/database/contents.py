"""What is in a database: whatever would be lost with it, be it a table or not."""

from collections import Counter
from collections.abc import Iterable
from contextlib import suppress

from psycopg import Error, sql

from ..errors import StrataError
from .connection import Connection, beside

_HERE = "{} = (SELECT oid FROM pg_database WHERE datname = current_database())"

# Kinds of objects, the catalogs that list them, and which of their rows.
_DATA = (
    ("table", "pg_class", "relkind IN ('r', 'p')"),
    ("materialized view", "pg_class", "relkind = 'm'"),
    ("sequence", "pg_class", "relkind = 'S'"),
    ("large object", "pg_largeobject_metadata", "true"),
)
_CODE = (
    ("view", "pg_class", "relkind = 'v'"),
    ("foreign table", "pg_class", "relkind = 'f'"),
    ("function", "pg_proc", "prokind IN ('f', 'w')"),
    ("procedure", "pg_proc", "prokind = 'p'"),
    ("aggregate", "pg_proc", "prokind = 'a'"),
    ("type", "pg_type", "true"),
    # Who has dropped and made anew what was there has nothing new.
    ("schema", "pg_namespace", "nspname <> 'public' AND nspname !~ '^pg_(toast_)?temp_'"),
    ("extension", "pg_extension", "extname <> 'plpgsql'"),
    ("language", "pg_language", "true"),
    ("event trigger", "pg_event_trigger", "true"),
    ("publication", "pg_publication", "true"),
    ("subscription", "pg_subscription", _HERE.format("subdbid")),
    ("foreign data wrapper", "pg_foreign_data_wrapper", "true"),
    ("foreign server", "pg_foreign_server", "true"),
    ("cast", "pg_cast", "true"),
    ("operator", "pg_operator", "true"),
    ("operator class", "pg_opclass", "true"),
    ("operator family", "pg_opfamily", "true"),
    ("access method", "pg_am", "true"),
    ("collation", "pg_collation", "true"),
    ("conversion", "pg_conversion", "true"),
    ("transform", "pg_transform", "true"),
    ("text search configuration", "pg_ts_config", "true"),
    ("text search dictionary", "pg_ts_dict", "true"),
    ("text search parser", "pg_ts_parser", "true"),
    ("text search template", "pg_ts_template", "true"),
    ("default privilege", "pg_default_acl", "true"),
)
# What every database begins with has lower numbers. What is part of something else goes uncounted:
# of an extension, a column, a type; and so does what is temporary, which is some session's.
_OBJECTS = """
    SELECT '{kind}', {catalog}.oid::int8 FROM {catalog}
    WHERE {catalog}.oid >= 16384 AND {rows} AND NOT EXISTS (
      SELECT FROM pg_depend WHERE classid = '{catalog}'::regclass AND objid = {catalog}.oid
        AND (deptype IN ('e', 'i') AND refobjid <> objid
             OR deptype = 'a' AND refobjsubid > 0 AND '{kind}' = 'sequence'
             OR refclassid = 'pg_namespace'::regclass AND refobjid IN (
               SELECT oid FROM pg_namespace WHERE nspname ~ '^pg_(toast_)?temp_')))
"""
_SLOTS = """
    SELECT 'replication slot', row_number() OVER () FROM pg_replication_slots
    WHERE database = current_database()
"""


def _query(kinds: Iterable[tuple[str, str, str]]) -> sql.SQL:
    each = (_OBJECTS.format(kind=kind, catalog=catalog, rows=rows) for kind, catalog, rows in kinds)
    return sql.SQL(" UNION ALL ".join(each))


_ORDER = dict.fromkeys((*(kind for kind, *_ in (*_DATA, *_CODE)), "replication slot"))
_LOST = sql.SQL(" UNION ALL ").join([_query((*_DATA, *_CODE)), sql.SQL(_SLOTS)])


def held(connection: Connection, server: str) -> dict[str, int]:
    """Return how many objects of each kind a database holds, but for those that new ones have.

    Sites may put something into `template1`, which they get too; what holds data counts even so.
    """
    found = set(connection.execute(_LOST).fetchall())
    with suppress(Error, StrataError):
        if found:
            with beside(connection, server, "template1") as new:
                found -= set(new.execute(_query(_CODE)).fetchall())
    counts = Counter(kind for kind, _ in found)
    return {kind: counts[kind] for kind in _ORDER if counts[kind]}


def listed(counts: dict[str, int]) -> str:
    """Return numbers of objects as a person writes them: 3 tables, 1 large object."""
    return ", ".join(
        f"{count} {kind if count == 1 else _plural(kind)}" for kind, count in counts.items()
    )


def _plural(kind: str) -> str:
    if kind.endswith("y"):
        return f"{kind[:-1]}ies"
    return f"{kind}es" if kind.endswith("s") else f"{kind}s"
