"""Contents of a database: a count of everything that would be lost with it, tables or not."""

from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from typing import NamedTuple

from psycopg import Error, OperationalError, errors, sql

from ..errors import ConfigurationError, InfrastructureError, StrataError
from ..servers.waiting import until
from . import stamps
from .connection import Connection, assembled, beside, connect, session

GRACE = 0.5
"""Seconds that dropping a database may take, once its sessions have been terminated."""
REPLACEMENTS = 10
"""Number of times that it may be dropped or replaced while its contents are counted."""

_HERE = "{} = (SELECT oid FROM pg_database WHERE datname = current_database())"

# Kinds of objects, the catalogs that list them, and conditions on their rows.
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
    # A `public` schema that was dropped and recreated is nothing new.
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
# The objects of every new database have lower OIDs. Not counted are parts of an extension, a column
# or a type, nor temporary objects, which belong to some session.
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
    return assembled(" UNION ALL ".join(each))


_ORDER = dict.fromkeys((*(kind for kind, *_ in (*_DATA, *_CODE)), "replication slot"))
_LOST = sql.SQL(" UNION ALL ").join([_query((*_DATA, *_CODE)), sql.SQL(_SLOTS)])


class Contents(NamedTuple):
    """Numbers of objects in a database, and its size."""

    held: dict[str, int]
    """Number of objects of each kind, except those of every new database."""
    size: int
    """Size in bytes."""
    facts: stamps.Facts | None = None
    """Facts about the database, read after its objects were counted.

    A database under construction is stamped before it has tables: facts from before the count may
    lack the stamp although the counted tables are there.
    """

    def __str__(self) -> str:
        """Describe it to a user who is about to lose it: 3 tables, 1 large object, 0.2 MB."""
        counts = [
            f"{count} {kind if count == 1 else _plural(kind)}" for kind, count in self.held.items()
        ]
        return f"{', '.join(counts) or 'empty'}, {self.size / 2**20:.1f} MB"


def contents_of(connection: Connection, server: str, name: str) -> Contents:
    """Return the contents of a database, waiting while it is being dropped or replaced.

    Args:
        connection: a connection to its server, which may already be closed.
        server: the connection string of the server, as `reached` returns it.
        name: the name of the database.
    """
    for _ in range(REPLACEMENTS):
        # Outside GRACE: on a busy machine, a count may take longer before it is terminated.
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
    # If the contents are only displayed, the original connection may be closed by now.
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
        # Its sessions are terminated before it is dropped, so it may exist a moment longer.
        if there.rowcount:
            raise
        return Contents({}, 0)


def _held(connection: Connection) -> dict[str, int]:
    """Return the number of objects of each kind in a database, except those that new ones have.

    Sites may add objects to `template1`, which new databases get too; those with data still count.
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
