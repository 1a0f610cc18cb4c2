"""The gates: how many lines of which files have to run.

Error paths are the lines that run when something goes wrong: those in the bodies of `except` and
`except*` blocks, with all that is nested in them, and `raise` statements wherever they stand. Of
those count the ones that coverage counts at all: executable, reachable, and not excluded by a
comment or a pattern. Coverage knows lines, not statements: in `if wrong: raise Error`, both run
when the `if` does.
"""

import ast
import linecache
import math
from dataclasses import dataclass, replace

LISTED = 50
"""How many files or lines are listed; whoever misses more has to begin somewhere."""


@dataclass(frozen=True, slots=True)
class File:
    """A file, by its path in the project: the numbers of the lines that count, and are missing."""

    path: str
    lines: frozenset[int]
    missing: frozenset[int]
    error_lines: frozenset[int]
    ranges: str
    """The missing lines as one writes them: `3, 7-9`."""

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
    """Whether each missing line is listed by itself, with its source."""

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
    def lines_short(self) -> int:
        """How many more lines have to run."""
        # Of 70.1 %, 701 lines in a thousand and not, for the sake of the last bit, 702.
        return max(0, math.ceil(round(self.wanted * self.total / 100, 6)) - self.covered)

    @property
    def summary_line(self) -> str:
        """Return the result in one line."""
        line = f"{self.name}: {self.percent:g} % of {self.total} lines, {self.wanted:g} % wanted"
        return f"{line}: {self.lines_short} lines short" if self.lines_short else line

    def missing(self, limit: int = LISTED) -> list[str]:
        """Return where lines are missing, the file with the most first; at most `limit` places."""
        places: list[str] = []
        for file in sorted(self.files, key=lambda file: (-len(file.missing), file.path)):
            if self.by_line:
                for number in sorted(file.missing):
                    source = linecache.getline(file.path, number).strip()
                    places.append(f"{file.path}:{number}: {source}")
            elif file.missing:
                places.append(f"{file.path}:{file.ranges}")
        more = len(places) - limit
        return [*places[:limit], *([f"and {more} more: see index.html"] if more > 0 else [])]


def error_lines(source: bytes) -> frozenset[int]:
    """Return the numbers of the lines of `source` that belong to error paths.

    Raises:
        SyntaxError: it is no Python.
    """
    lines: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ExceptHandler):
            lines.update(*map(_lines, node.body))
        elif isinstance(node, ast.Raise):
            lines.update(_lines(node))
    return frozenset(lines)


def _lines(statement: ast.stmt) -> range:
    # A function begins with its decorators; its own line is that of `def`.
    decorators: list[ast.expr] = getattr(statement, "decorator_list", [])
    first = min(statement.lineno, *(each.lineno for each in decorators), statement.lineno)
    return range(first, (statement.end_lineno or first) + 1)
