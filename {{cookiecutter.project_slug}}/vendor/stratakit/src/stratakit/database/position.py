"""Position of a database among the migrations of its service, and the way on from there.

Every action that reports or needs the position takes its messages from here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from ..project import Service
from . import stamps

if TYPE_CHECKING:
    from alembic.script import ScriptDirectory


@dataclass(frozen=True)
class Position:
    """Revisions that a database is at, and those that the code has."""

    service: Service
    database: str
    """Name of the database."""
    present: tuple[str, ...]
    """Revisions of the database: none, or one for each branch."""
    scripts: "ScriptDirectory"

    @cached_property
    def heads(self) -> tuple[str, ...]:
        """Revisions of the code that no other one follows."""
        return tuple(self.scripts.get_heads())

    @cached_property
    def unknown(self) -> list[str]:
        """Revisions of the database that the code does not have."""
        known = {each.revision for each in self.scripts.walk_revisions()}
        return [each for each in self.present if each not in known]

    @property
    def before_latest(self) -> str:
        """Target that reverts the latest migration only, for Alembic's `downgrade`."""
        latest = next(iter(self.scripts.iterate_revisions(self.present, "base")))
        parents = latest.down_revision or "base"
        # Of a merge, one parent is enough: the migrations of the other one stay applied.
        return f"{latest.revision}@{parents if isinstance(parents, str) else parents[0]}"

    @property
    def fork(self) -> tuple[str, str] | None:
        """Reason why the migrations do not lead to a single schema, and a hint."""
        if len(self.heads) <= 1:
            return None
        merge = f"uv run invoke db.revision --merge -m join --service {self.service.name}"
        there = f"the migrations of {self.service.name} have {len(self.heads)} heads"
        return f"{there}: {', '.join(self.heads)}", f"let one follow the other, or: {merge}"

    @property
    def blocked(self) -> tuple[str, str] | None:
        """Reason why no migration leads on from there, and a hint."""
        if self.fork or not self.unknown:
            return self.fork
        at = f"{self.database} is at {', '.join(self.unknown)}"
        purpose = stamps.DEV if self.database.endswith(f"_{stamps.DEV}") else stamps.TEST
        which = f"--service {self.service.name} --database {purpose}"
        return (
            f"{at}, which this code does not have; another branch may",
            f"switch to that branch, or: uv run invoke db.reset {which}",
        )

    @property
    def problem(self) -> tuple[str, str] | None:
        """Reason why it is not at the newest revision, and a hint; None if it is."""
        if self.blocked:
            return self.blocked
        if not self.present and self.heads:
            return f"{self.database} was never migrated", "uv run invoke db.setup"
        if self.present == self.heads:
            return None
        done = len(list(self.scripts.iterate_revisions(self.present, "base")))
        behind = len(list(self.scripts.walk_revisions())) - done
        at = f"{self.database} is at {', '.join(self.present)}"
        return f"{at}, {behind} behind", "uv run invoke db.migrate"


def told(problem: Sequence[str]) -> str:
    """Return a problem and its hint as one line."""
    return ": ".join(problem)
