"""What a tier runs in its environment, and what its exit code means.

Standard library only, since noxfile.py imports it.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import graph
from .errors import Code, InfrastructureError
from .verdict import Part

INFRASTRUCTURE_EXIT = 12
CONFIGURATION_EXIT = 13
"""The plugin's own pytest exit codes: pytest means other things by 2 and 3."""

NOTHING_RAN = 5

RESULTS = "results.json"
"""What a tier leaves in the folder of its part: the tests, what was absent, the reason."""

COVERAGE_DATA = "coverage.data"
"""What a tier leaves there that is measured. No leading dot: CI does not keep hidden files."""

MEASURE = ("--cov", "--cov-report=")
"""What makes pytest measure coverage, and not report it."""

_PYTEST_EXIT: dict[int, tuple[Code, str | None]] = {
    0: (Code.PASSED, None),
    1: (Code.FAILED, "tests failed"),
    2: (Code.FAILED, "tests could not be collected"),
    3: (Code.FAILED, "pytest had an internal error"),
    4: (Code.CONFIGURATION, "pytest was called wrongly: see its message above"),
    6: (Code.FAILED, "there were more warnings than allowed"),
    INFRASTRUCTURE_EXIT: (Code.INFRASTRUCTURE, "a server that the tests need is not there"),
    CONFIGURATION_EXIT: (Code.CONFIGURATION, "a setting is wrong"),
}


def arguments(
    tier: graph.Tier, folders: Sequence[Path], part: Part, posargs: Sequence[str]
) -> list[str]:
    """Return what to hand to the interpreter of the tier's environment."""
    reports = part.folder.relative_to(graph.ROOT).as_posix()
    if not tier.paths:
        return ["-m", f"ops.{tier.name}", "--results", f"{reports}/{RESULTS}", *posargs]
    chosen = [word for word in posargs if Path(word.partition("::")[0]).exists()]
    return [
        *("-m", "pytest", "--tier", tier.name, "--reports", reports),
        *([] if chosen else [folder.relative_to(graph.ROOT).as_posix() for folder in folders]),
        *posargs,
    ]


def variables(part: Part) -> dict[str, str]:
    """Return what a command gets in its environment that depends on the part."""
    return {"COVERAGE_FILE": str(part.file(COVERAGE_DATA))}


def refuse_gaps(measured: Sequence[Part]) -> None:
    """Refuse to judge what tiers have left of which not all could run.

    Raises:
        InfrastructureError: one could not.
    """
    for part in measured:
        if part.exit_code >= Code.INFRASTRUCTURE:
            raise InfrastructureError(f"not judged, since {part.title} could not run")


def settle(tier: graph.Tier, part: Part, exit_code: int) -> None:
    """Read what the command left behind and say what its exit code means."""
    left: dict[str, Any] = {}
    if part.file(RESULTS).exists():
        left = json.loads(part.file(RESULTS).read_text(encoding="utf-8"))
        part.file(RESULTS).unlink()
    part.tests, part.absent = left.get("tests", []), left.get("absent", [])
    if exit_code == NOTHING_RAN and tier.paths:
        part.settle(Code.PASSED, "no test was selected", status="empty")
        return
    code, reason = _meaning(tier, exit_code)
    part.settle(code, left.get("reason") or reason)


def _meaning(tier: graph.Tier, exit_code: int) -> tuple[Code, str | None]:
    if exit_code < 0:
        return Code.FAILED, f"it was killed by signal {-exit_code}"
    if tier.paths:
        return _PYTEST_EXIT.get(exit_code, (Code.FAILED, f"pytest exited with {exit_code}"))
    if exit_code in set(Code):
        return Code(exit_code), "a check failed" if exit_code == Code.FAILED else None
    return Code.FAILED, f"it exited with {exit_code}"
