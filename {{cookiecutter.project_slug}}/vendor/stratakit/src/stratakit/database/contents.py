"""Count what is in a database: whatever would be lost with it, be it a table or not."""

from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from typing import NamedTuple

from psycopg import Error, OperationalError, errors, sql

from ..errors import ConfigurationError, InfrastructureError, StrataError
from ..servers.waiting import until
from . import stamps
from .connection import Connection, beside, connect, session

GRACE = 0.5
"""Seconds that a database may take to be dropped, once its sessions have been ended."""
REPLACEMENTS = 10
"""How often it may be dropped or replaced while somebody looks into it."""

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


class Contents(NamedTuple):
    """How much is in a database."""

    held: dict[str, int]
    """Objects of each kind, but for those of every new database."""
    size: int
    """Its size in bytes."""
    facts: stamps.Facts | None = None
    """Read after the objects were counted.

    One that is being made is stamped before it has tables: what was read before they were counted
    may lack the stamp without a reason.
    """

    def __str__(self) -> str:
        """Describe it for somebody who is about to lose it: 3 tables, 1 large object, 0.2 MB."""
        counts = [
            f"{count} {kind if count == 1 else _plural(kind)}" for kind, count in self.held.items()
        ]
        return f"{', '.join(counts) or 'empty'}, {self.size / 2**20:.1f} MB"


def contents_of(connection: Connection, server: str, name: str) -> Contents:
    """Look into a database; into one that is dropped or replaced just now, until that is over.

    Args:
        connection: to its server; one that is closed already will do.
        server: how to reach the server where that came out.
        name: of the database.
    """
    for _ in range(REPLACEMENTS):
        # Not counted in GRACE: on a busy machine a look may have taken longer before it was ended.
        with suppress(errors.AdminShutdown):
            return _settled(connection, server, name)
    return _settled(connection, server, name)


def _settled(connection: Connection, server: str, name: str) -> Contents:
    found: list[Contents] = []
    passed_on = (ConfigurationError, errors.AdminShutdown)
    try:
        until(lambda: found.append(_look(connection, server, name)), GRACE, unless=passed_on)
    except TimeoutError as error:
        raise (error.__cause__ or error) from None
    return found[0]


def _look(connection: Connection, server: str, name: str) -> Contents:
    # Where it is only told, the connection over which it was found may be closed.
    way = session(server, name) if connection.closed else beside(connection, name)
    try:
        with way as own:
            held = _held(own)
            query = "SELECT pg_database_size(current_database())"
            (size,) = own.execute(query).fetchone() or (0,)
            return Contents(held, size, stamps.facts(own, name))
    except (InfrastructureError, OperationalError):
        with connect(server) as again:
            there = again.execute("SELECT FROM pg_database WHERE datname = %s", (name,))
        # Its sessions are ended before it is gone, so that it may be there a moment longer.
        if there.rowcount:
            raise
        return Contents({}, 0)


def _held(connection: Connection) -> dict[str, int]:
    """Return how many objects of each kind a database holds, but for those that new ones have.

    Sites may put something into `template1`, which they get too; what holds data counts even so.
    """
    found = set(connection.execute(_LOST).fetchall())
    with suppress(Error, StrataError):
        if found:
            with beside(connection, "template1") as new:
                found -= set(new.execute(_query(_CODE)).fetchall())
    counts = Counter(kind for kind, _ in found)
    return {kind: counts[kind] for kind in _ORDER if counts[kind]}


def _plural(kind: str) -> str:
    if kind.endswith("y"):
        return f"{kind[:-1]}ies"
    return f"{kind}es" if kind.endswith("s") else f"{kind}s"
