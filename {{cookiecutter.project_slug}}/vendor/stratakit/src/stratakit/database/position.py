"""Where a database stands among the migrations of its service, and the way on from there.

Every action that tells or needs it takes the words from here.
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
    """The revisions that a database is at, and those that the code has."""

    service: Service
    database: str
    """Its name."""
    present: tuple[str, ...]
    """None, or one for each branch."""
    scripts: "ScriptDirectory"

    @cached_property
    def heads(self) -> tuple[str, ...]:
        """The revisions of the code that no other one follows."""
        return tuple(self.scripts.get_heads())

    @cached_property
    def unknown(self) -> list[str]:
        """Those of the database that the code does not have."""
        known = {each.revision for each in self.scripts.walk_revisions()}
        return [each for each in self.present if each not in known]

    @property
    def fork(self) -> tuple[str, str] | None:
        """Why the migrations lead to no single schema, and what to do about it."""
        if len(self.heads) <= 1:
            return None
        merge = f"in services/{self.service.name}: uv run alembic merge heads"
        there = f"the migrations of {self.service.name} have {len(self.heads)} heads"
        return f"{there}: {', '.join(self.heads)}", f"let one follow the other, or {merge}"

    @property
    def blocked(self) -> tuple[str, str] | None:
        """Why no migration leads on from there, and what to do about it."""
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
        """Why it is not at the newest revision, and what to do about it; None if it is."""
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
    """Return a problem and what to do about it, as one line."""
    return ": ".join(problem)
