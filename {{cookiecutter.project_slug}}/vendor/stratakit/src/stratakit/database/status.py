"""Status of databases: whether they exist, their contents, and what a rollback would lose."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from psycopg import OperationalError, errors, sql

from ..errors import InfrastructureError
from ..servers import checkout
from . import migrations, runs
from .connection import Connection, beside, connect, session
from .lifecycle import Database
from .position import told

_TABLES = """
    SELECT nspname, relname FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
    -- Rows of partitions are counted with their parent's.
    WHERE relkind IN ('r', 'p', 'm') AND NOT relispartition
      AND relname <> 'alembic_version' AND nspname !~ '^(pg_|information_schema$)'
    ORDER BY 1, 2
"""
_COLUMNS = """
    SELECT attrelid::int8, attnum, nspname, relname, attname FROM pg_attribute
      JOIN pg_class ON pg_class.oid = attrelid JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE relkind IN ('r', 'p', 'm') AND attnum > 0 AND NOT attisdropped
      AND relname <> 'alembic_version' AND nspname !~ '^(pg_|information_schema$)'
    ORDER BY nspname, relname, attnum
"""


@dataclass(frozen=True, slots=True)
class Status:
    """State of one of a service's `dev` or `test` databases."""

    service: str
    database: str
    purpose: str
    """Purpose of the database: dev or test."""
    checkout: str
    """Mark of the checkout that it belongs to; empty for the first."""
    exists: bool
    server: str
    """Version and origin of the server."""
    owner: str | None
    size: int
    """Size in bytes."""
    stamp: str | None
    belongs_to: str | None
    """Project and service that it belongs to, if it says so."""
    revision: str | None
    """Migration that it is at."""
    head: str
    """Newest migration in the code; several if it has several heads."""
    problem: str | None
    """Reason why it is not at the head, and a hint."""
    changed: list[str]
    """Migration files that have changed since they were applied to it."""
    rows: dict[str, int]
    """Number of rows of each table."""

    @property
    def current(self) -> bool:
        """Whether it is at the newest migration."""
        return self.exists and self.revision == self.head

    def as_dict(self) -> dict[str, Any]:
        """Return it as a dictionary for JSON."""
        return {**asdict(self), "current": self.current}

    def __str__(self) -> str:
        """Describe it in a few lines."""
        where = f" ({self.purpose} of the checkout {self.checkout})" if self.checkout else ""
        name = f"{self.database}{where}"
        if not self.exists:
            return f"{name}: not there (uv run invoke db.setup)\n  {self.server}"
        rows = ", ".join(f"{table} {count}" for table, count in self.rows.items()) or "no tables"
        stamp = self.stamp or "not at all"
        whose = f", of {self.belongs_to}" if self.belongs_to else ""
        return (
            f"{name}: revision {self.revision or 'none'}\n"
            + (f"  {self.problem}\n" if self.problem else "")
            + "".join(f"  changed since it was applied: {file}\n" for file in self.changed)
            + f"  {self.server}\n"
            f"  owner {self.owner}, {megabytes(self.size)}, stamped {stamp}{whose}\n"
            f"  rows: {rows}"
        )


def megabytes(size: int | None) -> str:
    """Format a size in bytes for people; None is a size that the role may not see."""
    return "of unknown size" if size is None else f"{size / 2**20:.1f} MB"


def status(database: Database) -> Status:
    """Return the state of a database."""
    try:
        return _status(database)
    except (InfrastructureError, OperationalError):
        # It may have been dropped since it was found.
        if database.exists():
            raise
        return _status(database)


def _status(database: Database) -> Status:
    target = database.inspect()
    position = database.position()
    with connect(database.server.url) as connection:
        version = connection.info.parameter_status("server_version")
        row = connection.execute(
            "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = %s", (database.name,)
        ).fetchone()
    return Status(
        service=database.service.name,
        database=database.name,
        purpose=database.purpose,
        checkout=checkout.mark(),
        exists=target.exists,
        server=f"PostgreSQL {version}, {database.server.source}: {database.server.why}",
        owner=row[0] if row else None,
        size=target.contents().size if target.exists else 0,
        stamp=target.facts.stamp,
        belongs_to=target.facts.owner,
        revision=next(iter(position.present), None),
        head=", ".join(position.heads),
        problem=told(position.problem) if position.problem else None,
        changed=database.changed() if target.exists else [],
        rows=rows(database) if target.exists else {},
    )


def rows(database: Database) -> dict[str, int]:
    """Return the number of rows in each table of a database."""
    with session(database.server.url, database.name) as connection:
        tables = connection.execute(_TABLES).fetchall()
        return {
            _shown(schema, table): _count(connection, schema, table) for schema, table in tables
        }


def counted(number: int, what: str) -> str:
    """Format a number of things, in singular or plural."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def lost_by_rollback(database: Database) -> list[str]:
    """Return the tables and columns with data that reverting the latest migration would drop.

    The migration is reverted in a copy of the migrated template; the database is not touched.

    Raises:
        MigrationError: a migration has no downgrade.
        InfrastructureError: the role may not create databases.
    """
    with connect(database.server.url, database.name) as connection:
        at = migrations.revisions(connection)
    if not at:
        return []
    before, after = _taken_back(database, at)
    # By their numbers: a table or column that is renamed keeps its data.
    tables = {table for table, _ in after}
    gone = [key for key in before if key not in after]
    dropped = [before[key] for key in gone if key[0] in tables]
    dropped += dict.fromkeys((*before[key][:2], "") for key in gone if key[0] not in tables)
    with connect(database.server.url, database.name) as connection:
        found = []
        for schema, table, column in dropped:
            try:
                held = _count(connection, schema, table, column)
            except (errors.UndefinedTable, errors.UndefinedColumn):
                # The database differs from its migrations.
                continue
            if held:
                name = _shown(schema, table)
                found.append(
                    f"the column {name}.{column}: {counted(held, 'value')}"
                    if column
                    else f"the table {name}: {counted(held, 'row')}"
                )
        return found


Columns = dict[tuple[int, int], tuple[str, str, str]]
"""Names of schema, table and column, by the numbers of table and column."""


def _taken_back(database: Database, at: Sequence[str]) -> tuple[Columns, Columns]:
    """Return the columns at these revisions, and those left after the latest is reverted."""
    with (
        session(database.server.url) as connection,
        runs.migrated(connection, database.service) as newest,
    ):
        name = newest.info.dbname
        for revision in at:
            with beside(connection, name) as own:
                if revision not in migrations.revisions(own):
                    migrations.rollback(own, database.service, revision)
        before = _columns(connection, name)
        with beside(connection, name) as own:
            migrations.rollback(own, database.service)
        return before, _columns(connection, name)


def _columns(connection: Connection, name: str) -> Columns:
    with beside(connection, name) as own:
        found = own.execute(_COLUMNS).fetchall()
    return {
        (table, number): (schema, name, column) for table, number, schema, name, column in found
    }


def _count(connection: Connection, schema: str, table: str, column: str = "") -> int:
    counted = sql.Identifier(column) if column else sql.SQL("*")
    query = sql.SQL("SELECT count({}) FROM {}").format(counted, sql.Identifier(schema, table))
    try:
        (count,) = connection.execute(query).fetchone() or (0,)
    except errors.ObjectNotInPrerequisiteState:
        # An unpopulated materialized view has no rows, but PostgreSQL raises an error for it.
        return 0
    return int(count)


def _shown(schema: str, table: str) -> str:
    return table if schema == "public" else f"{schema}.{table}"
