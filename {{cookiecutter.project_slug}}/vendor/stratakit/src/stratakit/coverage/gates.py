"""Coverage gates: the share of lines that has to run, for groups of files.

Error paths are the lines that run when something goes wrong: the bodies of `except` and `except*`
blocks, with everything nested in them, and all `raise` statements. Only lines that coverage counts
are included: executable, reachable, and not excluded by a comment or a pattern. Coverage measures
lines, not statements: in `if wrong: raise Error`, both run when the `if` does.
"""

import ast
import linecache
import math
from dataclasses import dataclass, replace

LISTED = 50
"""Maximum number of files or lines in a list."""


@dataclass(frozen=True, slots=True)
class File:
    """File, by its path in the project, with the numbers of its counted and missing lines."""

    path: str
    lines: frozenset[int]
    missing: frozenset[int]
    error_lines: frozenset[int]
    ranges: str
    """Missing lines as text: `3, 7-9`."""

    def error_paths(self) -> "File":
        """Return the file reduced to the lines of its error paths."""
        return replace(
            self, lines=self.lines & self.error_lines, missing=self.missing & self.error_lines
        )


@dataclass(frozen=True, slots=True)
class Gate:
    """Group of files, and the percentage of their lines that has to run."""

    name: str
    wanted: float
    files: tuple[File, ...]
    by_line: bool = False
    """Whether missing lines are listed one by one, with their source."""

    @property
    def total(self) -> int:
        """Number of counted lines."""
        return sum(len(file.lines) for file in self.files)

    @property
    def covered(self) -> int:
        """Number of counted lines that have run."""
        return self.total - sum(len(file.missing) for file in self.files)

    @property
    def percent(self) -> float:
        """Percentage of lines that have run, rounded down: a missed gate must not look met."""
        return math.floor(1000 * self.covered / self.total) / 10 if self.total else 100.0

    @property
    def lines_short(self) -> int:
        """Number of further lines that have to run."""
        # Round first: 70.1 % of 1000 lines is 701, not 702 because of a floating-point error.
        return max(0, math.ceil(round(self.wanted * self.total / 100, 6)) - self.covered)

    @property
    def summary_line(self) -> str:
        """Result in one line."""
        line = f"{self.name}: {self.percent:g} % of {self.total} lines, {self.wanted:g} % wanted"
        return f"{line}: {self.lines_short} lines short" if self.lines_short else line

    def missing(self, limit: int = LISTED) -> list[str]:
        """Return up to `limit` places of missing lines, files with the most missing first."""
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
        SyntaxError: the source is not valid Python.
    """
    lines: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ExceptHandler):
            lines.update(*map(_lines, node.body))
        elif isinstance(node, ast.Raise):
            lines.update(_lines(node))
    return frozenset(lines)


def _lines(statement: ast.stmt) -> range:
    # `lineno` of a function is its `def`, but it begins with its decorators.
    decorators: list[ast.expr] = getattr(statement, "decorator_list", [])
    first = min(statement.lineno, *(each.lineno for each in decorators), statement.lineno)
    return range(first, (statement.end_lineno or first) + 1)
