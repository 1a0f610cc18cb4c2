"""Schema of a database as facts from the catalog, which can be compared and hashed.

Alembic's autogenerate compares what SQLAlchemy reflects: it does not see CHECK constraints,
predicates of indexes, triggers or privileges. The catalog holds everything that PostgreSQL uses.
"""

import difflib
import hashlib
import re
from collections.abc import Container, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import psycopg
from psycopg import errors, sql
from psycopg.pq import TransactionStatus

Connection = psycopg.Connection[Any]

SETTINGS = {
    "search_path": "",
    # Formats in which PostgreSQL prints constants, in a CHECK or in the bound of a partition.
    "bytea_output": "hex",
    "datestyle": "ISO, MDY",
    "extra_float_digits": "1",
    "intervalstyle": "postgres",
    "quote_all_identifiers": "off",
    "timezone": "UTC",
    # Compiling would take longer than the query.
    "jit": "off",
    # A migration in progress locks the views whose definitions are read.
    "lock_timeout": "10s",
}
"""Settings under which the facts are read, whatever the database or the role has set."""
SET_ALL = "SELECT " + ", ".join(
    f"set_config('{name}', '{value}', true)" for name, value in SETTINGS.items()
)
QUERY = Path(__file__).with_name("catalog.sql").read_bytes()


class Fact(NamedTuple):
    """One part of a schema, such as a column or a privilege."""

    kind: str
    name: str
    definition: str
    part_of: str | None
    """Kind and name of the part whose drop would drop it as well."""


Facts = Mapping[str, Fact]
"""Facts by kind and name."""


@dataclass(frozen=True, slots=True, order=True)
class Difference:
    """A part of a schema that is not as expected."""

    kind: str
    name: str
    change: Literal["missing", "unexpected", "changed"]
    expected: str = ""
    found: str = ""

    def __str__(self) -> str:
        """Name it, and show how the two sides differ."""
        texts = {"expected": self.expected, "found": self.found}
        lines = [f"{side}: {text}" for side, text in texts.items() if text]
        if self.change == "changed" and any("\n" in text for text in texts.values()):
            sides = [text.splitlines() for text in texts.values()]
            # Without the header that names the files, since there are none.
            lines = list(difflib.unified_diff(sides[0], sides[1], n=1, lineterm=""))[2:]
        text = "\n".join((f"{self.change} {self.kind} {self.name}", *lines))
        return text.replace("\n", "\n  ")


def facts(connection: Connection) -> Facts:
    """Return the facts of a database's schema, except for the table alembic_version.

    Who created the schema does not matter: an owner is mentioned only if it is not the migrating
    role, which is the owner of alembic_version, or else of the database. Nor does the version of
    the server, except for views over one table, in which PostgreSQL 15 writes `table.column`.

    Raises:
        psycopg.errors.LockNotAvailable: another session is changing a view's tables.
    """
    nested = connection.info.transaction_status != TransactionStatus.IDLE
    # Rolled back only if the settings would outlive us, since that unprepares the query.
    with connection.transaction(force_rollback=nested):
        connection.execute(SET_ALL.encode())
        rows = connection.execute(QUERY, prepare=True).fetchall()
    return by_key(rows)


def by_key(rows: Iterable[Sequence[Any]]) -> Facts:
    """Convert the rows that QUERY returns under SET_ALL to facts."""
    found = (Fact(*row) for row in rows)
    return {f"{each.kind} {each.name}": each for each in found if not _NOT_SCHEMA(each.name)}


def compare(expected: Facts, found: Facts) -> list[Difference]:
    """Return the differences, sorted; parts of a missing or unexpected part are not listed."""
    lone = expected.keys() ^ found.keys()
    return sorted(
        _difference(expected.get(key), found.get(key), fact)
        for key, fact in {**expected, **found}.items()
        if expected.get(key) != found.get(key) and fact.part_of not in lone
    )


def _difference(expected: Fact | None, found: Fact | None, fact: Fact) -> Difference:
    return Difference(
        kind=fact.kind,
        name=fact.name,
        change="missing" if not found else "changed" if expected else "unexpected",
        expected=expected.definition if expected else "",
        found=found.definition if found else "",
    )


# Temporary objects of a session and Alembic's table, with their parts, comments and grants.
_NOT_SCHEMA = re.compile(r"(^| )(pg_temp(_\d+)?\.|[^ .]+\.alembic_version(\.| |$))").search


NOTE = "strata.shape"
"""Setting on a database that records the signature it was found to have."""
_CATALOGS = {
    "true": "pg_am pg_attrdef pg_default_acl pg_enum pg_event_trigger pg_extension"
    " pg_foreign_data_wrapper pg_foreign_server pg_foreign_table pg_inherits pg_policy"
    " pg_publication pg_publication_namespace pg_publication_rel pg_sequence pg_statistic_ext"
    " pg_trigger",
    # Lower OIDs belong to the thousands of objects of every new database, which do not change.
    "oid >= 16384": "pg_cast pg_class pg_collation pg_constraint pg_opclass pg_operator pg_proc"
    " pg_rewrite pg_ts_config pg_ts_dict pg_ts_template pg_type",
    "aggfnoid >= 16384": "pg_aggregate",
    "attrelid >= 16384": "pg_attribute",
    "objid >= 16384": "pg_depend",
    "objoid >= 16384 OR classoid = 'pg_namespace'::regclass": "pg_description",
    "indexrelid >= 16384": "pg_index",
    "rngtypid >= 16384": "pg_range",
    "mapcfg >= 16384": "pg_ts_config_map",
    # Each session that creates a temporary table leaves a schema behind.
    "nspname !~ '^pg_(toast_)?temp_'": "pg_namespace",
}
"""Catalogs that the facts are read from, by the condition for the rows that can change."""
_OBJECTS = ("pg_enum", "pg_extension", "pg_namespace", "pg_proc", "pg_rewrite", "pg_sequence")
"""Catalogs with few rows: one for each label, function, view and so on."""
_SETTINGS = """
    SELECT ctid, xmin FROM pg_db_role_setting
    WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
_SET_ON_DATABASE = """
    SELECT concat_ws(' of ', split_part(each, '=', 1), nullif(setrole, 0)::regrole),
      substr(each, strpos(each, '=') + 1)
    FROM pg_db_role_setting, unnest(setconfig) AS each
    WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
_REVISIONS = "SELECT ctid, xmin FROM alembic_version"


def _version(*places: str, only: Container[str] | None = None) -> str:
    """Return SQL for a text that changes with the rows of the catalogs and of `places`."""
    rows = (
        f"SELECT ctid, xmin FROM {catalog} WHERE {condition}"  # noqa: S608 - from the table above
        for condition, catalogs in _CATALOGS.items()
        for catalog in catalogs.split()
        if only is None or catalog in only
    )
    # A row that is changed gets another ctid and another xmin.
    return f"""
        SELECT concat(count(*), ' ', sum(hash_record(ROW(ctid, xmin))))
        FROM ({" UNION ALL ".join([*rows, *places])}) AS places
    """  # noqa: S608 - as above


_VERSION = _version().encode()


def version_of_objects(connection: Connection) -> str:
    """Return SQL for a text that changes with the objects, the settings and the revision.

    It takes a tenth of the time of `catalog_version`. New objects change it, but few other changes
    do; a change within a table, such as to a column's default, does not.
    """
    there = connection.execute("SELECT to_regclass('alembic_version')").fetchone()
    revisions = () if there == (None,) else (_REVISIONS,)
    return f"""
        SELECT concat_ws(' ', (SELECT max(oid) FROM pg_class), (SELECT max(oid) FROM pg_type),
                         ({_version(_SETTINGS, *revisions, only=_OBJECTS)}))
    """  # noqa: S608 - as above


def signature(connection: Connection) -> str:
    """Return a text that is equal for databases with equal schemas at the same revision."""
    found = repr(sorted(facts(connection).items()))
    return f"{_revision(connection)} {hashlib.sha256(found.encode()).hexdigest()}"


def catalog_version(connection: Connection) -> str:
    """Return a text that changes with the catalog, in less time than it takes to read the facts.

    It also changes with commands that leave the schema the same, such as TRUNCATE.
    """
    (found,) = connection.execute(_VERSION).fetchone() or ("",)
    return str(found)


def has_signature(connection: Connection, wanted: str) -> bool:
    """Return whether a database has a signature, and cache a positive result.

    Reading the facts takes some 15 ms on a new connection, most of the time of a reset. So a
    setting of the database records the version of the catalog from which they were read.
    """
    text = f"{catalog_version(connection)} {_revision(connection)} {wanted}"
    note = hashlib.sha256(text.encode()).hexdigest()
    if connection.execute("SELECT current_setting(%s, true)", (NOTE,)).fetchone() == (note,):
        return True
    if signature(connection) != wanted:
        return False
    statement = sql.SQL("ALTER DATABASE {} SET {} = {}").format(
        sql.Identifier(connection.info.dbname), sql.SQL(NOTE), sql.Literal(note)
    )
    # A plain role may not define settings: its resets read the facts each time.
    with suppress(errors.InsufficientPrivilege):
        connection.execute(statement)
    return True


def shared_facts(connection: Connection) -> Facts:
    """Return the facts of a schema, with the settings and the revision of its database."""
    rows = connection.execute(_SET_ON_DATABASE).fetchall()
    others = [
        Fact("revision", "alembic_version", _revision(connection), None),
        *(Fact("setting", name, value, None) for name, value in rows),
    ]
    return {**facts(connection), **{f"{each.kind} {each.name}": each for each in others}}


def _revision(connection: Connection) -> str:
    try:
        return str(connection.execute("SELECT version_num FROM alembic_version").fetchall())
    except errors.UndefinedTable:
        return ""
