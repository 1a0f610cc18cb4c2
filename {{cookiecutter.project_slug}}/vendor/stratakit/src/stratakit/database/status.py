"""What is there: servers, databases, their revisions and rows."""

from dataclasses import asdict, dataclass
from typing import Any

from psycopg import sql

from .connection import connect, reading
from .lifecycle import Database
from .migrations import head


@dataclass(frozen=True, slots=True)
class Status:
    """The state of one service's test database."""

    service: str
    database: str
    exists: bool
    server: str
    """Version, and where the server comes from."""
    owner: str | None
    size: int
    """Bytes."""
    stamp: str | None
    belongs_to: str | None
    """Which service of which project has it, as far as it says so."""
    revision: str | None
    """The migration that it is at."""
    head: str
    """The newest migration in the code."""
    rows: dict[str, int]
    """Rows of each table."""

    @property
    def current(self) -> bool:
        """Whether it is at the newest migration."""
        return self.exists and self.revision == self.head

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {**asdict(self), "current": self.current}

    def __str__(self) -> str:
        """Describe it in a few lines."""
        if not self.exists:
            return f"{self.database}: not there (uv run invoke db.setup)\n  {self.server}"
        behind = "" if self.current else f", the code is at {self.head} (uv run invoke db.migrate)"
        rows = ", ".join(f"{table} {count}" for table, count in self.rows.items()) or "no tables"
        stamp = self.stamp or "not at all"
        whose = f", of {self.belongs_to}" if self.belongs_to else ""
        return (
            f"{self.database}: revision {self.revision or 'none'}{behind}\n"
            f"  {self.server}\n"
            f"  owner {self.owner}, {self.size / 2**20:.1f} MB, stamped {stamp}{whose}\n"
            f"  rows: {rows}"
        )


def status(database: Database) -> Status:
    """Return the state of a database."""
    target = database.inspect()
    with connect(database.server.url) as connection:
        version = connection.info.parameter_status("server_version")
        row = connection.execute(
            "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = %s", (database.name,)
        ).fetchone()
    rows = _rows(database) if target.exists else {}
    return Status(
        service=database.service.name,
        database=database.name,
        exists=target.exists,
        server=f"PostgreSQL {version}, {database.server.source}: {database.server.why}",
        owner=row[0] if row else None,
        size=target.contents().size if target.exists else 0,
        stamp=target.facts.stamp,
        belongs_to=target.facts.owner,
        revision=database.revision() if target.exists else None,
        head=head(database.service),
        rows=rows,
    )


def _rows(database: Database) -> dict[str, int]:
    with reading(database.server.url, database.name) as connection:
        tables = connection.execute(
            """
            SELECT schemaname, relname FROM pg_stat_user_tables
            -- The temporary tables of others are listed, but cannot be read.
            WHERE relname <> 'alembic_version' AND NOT starts_with(schemaname, 'pg_temp')
            ORDER BY 1, 2
            """
        ).fetchall()
        counted = {}
        for schema, table in tables:
            query = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(schema, table))
            (count,) = connection.execute(query).fetchone() or (0,)
            counted[table if schema == "public" else f"{schema}.{table}"] = count
    return counted
