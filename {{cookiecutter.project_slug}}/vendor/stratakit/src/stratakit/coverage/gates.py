"""The gates: how many lines of which files have to run."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from . import settings
from .settings import Settings


@dataclass(frozen=True, slots=True)
class File:
    """A file, by its path in the project: the numbers of the lines that count, and are missing."""

    path: str
    lines: frozenset[int]
    missing: frozenset[int]
    error_lines: frozenset[int]

    def error_paths(self) -> "File":
        """Return the file as if it had no other lines than those of error paths."""
        return replace(
            self, lines=self.lines & self.error_lines, missing=self.missing & self.error_lines
        )


@dataclass(frozen=True, slots=True)
class Gate:
    """Some files, and the percentage of their lines that has to run."""

    name: str
    wanted: float
    files: tuple[File, ...]
    by_line: bool = False
    """Whether each missing line is worth a line of its own where it is named."""

    @property
    def total(self) -> int:
        """How many lines count."""
        return sum(len(file.lines) for file in self.files)

    @property
    def covered(self) -> int:
        """How many of them have run."""
        return self.total - sum(len(file.missing) for file in self.files)

    @property
    def percent(self) -> float:
        """How much has run; rounded down, so that what misses a gate does not look as if on it."""
        return math.floor(1000 * self.covered / self.total) / 10 if self.total else 100.0

    @property
    def lacking(self) -> int:
        """How many more lines have to run."""
        # Of 70.1 %, 701 lines in a thousand and not, for the sake of the last bit, 702.
        return max(0, math.ceil(round(self.wanted * self.total / 100, 6)) - self.covered)

    def missing(self) -> list[File]:
        """Return the files that lines are missing of, the one with the most first."""
        found = [file for file in self.files if file.missing]
        return sorted(found, key=lambda file: (-len(file.missing), file.path))


def gates(files: Iterable[File], wanted: Settings) -> list[Gate]:
    """Return the gates for these files."""
    files = tuple(files)
    critical = [
        Gate(f"critical: {glob}", wanted.critical, _named(files, glob))
        for glob in wanted.critical_paths
    ]
    return [
        Gate("overall", wanted.overall, files),
        # Of several services one may be asked about alone, and have no such path.
        *(gate for gate in critical if gate.files),
        Gate("error paths", wanted.error_paths, tuple(map(File.error_paths, files)), by_line=True),
    ]


def _named(files: Iterable[File], glob: str) -> tuple[File, ...]:
    named = settings.files(glob)
    return tuple(file for file in files if file.path in named)
