"""What the gates say, as Markdown for the summary of a CI job, and as text for a terminal."""

import linecache
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby

from ..pyproject import ROOT
from .gates import File, Gate

LISTED = 50
"""How many files or lines are listed; whoever misses more has to begin somewhere."""

DEFINITION = (
    "Error paths are the lines in `except` blocks and the `raise` statements, of those lines that "
    "coverage counts."
)


def page(gates: Sequence[Gate], packages: Mapping[str, Sequence[File]]) -> str:
    """Return the whole report as Markdown."""
    overall, errors = gates[0], gates[-1]
    return "\n".join(
        [
            "## Coverage of unit and integration",
            "",
            *_table(("gate", "covered", "wanted", "lines", ""), map(_gate, gates)),
            "",
            *_table(("package", "lines", "error paths"), _packages(packages)),
            "",
            DEFINITION,
            *_section("Lines that no test runs", missing(overall)),
            *_section("Error paths that no test runs", missing(errors)),
            "",
        ]
    )


def told(gate: Gate) -> str:
    """Return what a gate says, in one line."""
    covered = f"{gate.percent:g} % of {gate.total} lines, {gate.wanted:g} % wanted"
    return f"{gate.name}: {covered}" + (f": {gate.lacking} lines short" if gate.lacking else "")


def missing(gate: Gate, limit: int = LISTED) -> list[str]:
    """Return where lines are missing, the file with the most first; at most so many."""
    if gate.by_line:
        texts = [text for file in gate.missing() for text in _source(file)]
    else:
        texts = [f"{file.path}:{ranges(file.missing)}" for file in gate.missing()]
    more = len(texts) - limit
    return [*texts[:limit], *([f"and {more} more: see index.html"] if more > 0 else [])]


def ranges(numbers: Iterable[int]) -> str:
    """Return numbers as one writes them: `3,7-9`."""
    runs = groupby(enumerate(sorted(numbers)), lambda item: item[1] - item[0])
    found = [[number for _, number in run] for _, run in runs]
    return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in found)


def _gate(gate: Gate) -> tuple[str, ...]:
    lines = f"{gate.covered} of {gate.total}"
    said = f"{gate.lacking} lines short" if gate.lacking else "passed"
    # Marked as code, since the stars of a glob would be taken for emphasis.
    return f"`{gate.name}`", f"{gate.percent:g} %", f"{gate.wanted:g} %", lines, said


def _packages(packages: Mapping[str, Sequence[File]]) -> Iterator[tuple[str, ...]]:
    for name, files in packages.items():
        whole = Gate(name, 0, tuple(files))
        errors = Gate(name, 0, tuple(file.error_paths() for file in files))
        yield f"`{name}`", *(f"{each.percent:g} % of {each.total}" for each in (whole, errors))


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]


def _section(title: str, texts: Sequence[str]) -> list[str]:
    # Four, since a line of source may hold three.
    fence = "````"
    return ["", f"### {title}", "", fence, *texts, fence] if texts else []


def _source(file: File) -> Iterator[str]:
    for number in sorted(file.missing):
        yield f"{file.path}:{number}: {linecache.getline(str(ROOT / file.path), number).strip()}"
