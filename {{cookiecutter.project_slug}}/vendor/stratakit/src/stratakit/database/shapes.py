"""Whether a database has the schema of a template: told twice without reading the catalog twice.

A fingerprint takes some 15 ms on a new connection, most of what a reset takes. So what it was found
to be is noted on the database, with a mark that any change of the catalog moves.
"""

import hashlib
from contextlib import suppress

from psycopg import errors, sql

from .. import fingerprint
from .connection import Connection

_OURS = ">= 16384"
"""Below are the numbers of what every database begins with; there are thousands, and they stay."""
CATALOGS = {
    "pg_aggregate": f"aggfnoid {_OURS}",
    "pg_am": "",
    "pg_attrdef": "",
    "pg_attribute": f"attrelid {_OURS}",
    "pg_cast": f"oid {_OURS}",
    "pg_class": f"oid {_OURS}",
    "pg_collation": f"oid {_OURS}",
    "pg_constraint": f"oid {_OURS}",
    "pg_default_acl": "",
    "pg_depend": f"objid {_OURS}",
    "pg_description": f"objoid {_OURS} OR classoid = 'pg_namespace'::regclass",
    "pg_enum": "",
    "pg_event_trigger": "",
    "pg_extension": "",
    "pg_foreign_data_wrapper": "",
    "pg_foreign_server": "",
    "pg_foreign_table": "",
    "pg_index": f"indexrelid {_OURS}",
    "pg_inherits": "",
    # Each session that makes a temporary table leaves a schema behind.
    "pg_namespace": "nspname !~ '^pg_(toast_)?temp_'",
    "pg_opclass": f"oid {_OURS}",
    "pg_operator": f"oid {_OURS}",
    "pg_policy": "",
    "pg_proc": f"oid {_OURS}",
    "pg_publication": "",
    "pg_publication_namespace": "",
    "pg_publication_rel": "",
    "pg_range": f"rngtypid {_OURS}",
    "pg_rewrite": f"oid {_OURS}",
    "pg_sequence": "",
    "pg_statistic_ext": "",
    "pg_trigger": "",
    "pg_ts_config": f"oid {_OURS}",
    "pg_ts_config_map": f"mapcfg {_OURS}",
    "pg_ts_dict": f"oid {_OURS}",
    "pg_ts_template": f"oid {_OURS}",
    "pg_type": f"oid {_OURS}",
}
"""Where PostgreSQL keeps what a fingerprint reads, and which of the rows can change."""
SETTING = "strata.shape"
"""The setting on a database that holds the note."""

# A row that is changed gets another place, and the number of another transaction.
_PLACES = " UNION ALL ".join(
    f"SELECT ctid, xmin FROM {catalog} WHERE {rows or 'true'}"  # noqa: S608 - from the table above
    for catalog, rows in CATALOGS.items()
)
_MARK = f"""
    SELECT concat(count(*), ' ', sum(hashtext(concat(ctid, xmin)))) FROM ({_PLACES}) AS places
"""  # noqa: S608 - as above


def of(connection: Connection) -> str:
    """Return what changes with the schema of a database, and with its revision."""
    return f"{_revision(connection)} {fingerprint.digest(connection)}"


def mark(connection: Connection) -> str:
    """Return what changes with the catalog, in a third of the time that a fingerprint takes.

    It also changes with what leaves the schema the same, such as TRUNCATE.
    """
    (found,) = connection.execute(_MARK).fetchone() or ("",)
    return str(found)


def matches(connection: Connection, shape: str) -> bool:
    """Return whether a database is of a shape, and note it for the next time."""
    text = f"{mark(connection)} {_revision(connection)} {shape}"
    wanted = hashlib.sha256(text.encode()).hexdigest()
    if connection.execute("SELECT current_setting(%s, true)", (SETTING,)).fetchone() == (wanted,):
        return True
    if of(connection) != shape:
        return False
    note = sql.SQL("ALTER DATABASE {} SET {} = {}").format(
        sql.Identifier(connection.info.dbname), sql.SQL(SETTING), sql.Literal(wanted)
    )
    # A plain role may not make up settings: its resets read the catalog each time.
    with suppress(errors.InsufficientPrivilege):
        connection.execute(note)
    return True


def _revision(connection: Connection) -> str:
    try:
        return str(connection.execute("SELECT version_num FROM alembic_version").fetchall())
    except errors.UndefinedTable:
        return ""
