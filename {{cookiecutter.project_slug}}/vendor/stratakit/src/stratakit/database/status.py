"""What is there: servers, databases, their revisions and rows."""

from dataclasses import asdict, dataclass
from typing import Any

from ..servers import checkout
from . import losses
from .connection import connect
from .lifecycle import Database
from .migrations import head


@dataclass(frozen=True, slots=True)
class Status:
    """The state of one of a service's databases for people."""

    service: str
    database: str
    purpose: str
    """What it is for: dev or test."""
    checkout: str
    """The mark of the checkout that it belongs to; empty for the first."""
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
    changed: list[str]
    """The files of migrations that have changed since they were applied to it."""
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
            return f"{self._name}: not there (uv run invoke db.setup)\n  {self.server}"
        behind = "" if self.current else f", the code is at {self.head} (uv run invoke db.migrate)"
        rows = ", ".join(f"{table} {count}" for table, count in self.rows.items()) or "no tables"
        stamp = self.stamp or "not at all"
        whose = f", of {self.belongs_to}" if self.belongs_to else ""
        return (
            f"{self._name}: revision {self.revision or 'none'}{behind}\n"
            + "".join(f"  changed since it was applied: {file}\n" for file in self.changed)
            + f"  {self.server}\n"
            f"  owner {self.owner}, {self.size / 2**20:.1f} MB, stamped {stamp}{whose}\n"
            f"  rows: {rows}"
        )

    @property
    def _name(self) -> str:
        where = f" ({self.purpose} of the checkout {self.checkout})" if self.checkout else ""
        return f"{self.database}{where}"


def status(database: Database) -> Status:
    """Return the state of a database."""
    target = database.inspect()
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
        revision=database.revision() if target.exists else None,
        head=head(database.service),
        changed=database.changed() if target.exists else [],
        rows=losses.rows(database) if target.exists else {},
    )
