"""What a tier runs in its environment, and what its exit code means.

Standard library only, since noxfile.py imports it.
"""

import json
import os
import shlex
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from glob import escape
from pathlib import Path
from typing import Any

from . import graph
from .errors import Code, InfrastructureError
from .results import TierResult

INFRASTRUCTURE_EXIT = 12
CONFIGURATION_EXIT = 13
"""The plugin's own pytest exit codes: pytest means other things by 2 and 3."""

NOTHING_RAN = 5
"""Pytest's exit code, and no failure: of several packages, some may have no such test."""

RESULTS = "results.json"
"""What a tier leaves in the folder of its part: the tests, what was absent, the reason."""

COVERAGE_DATA = "coverage.data"
"""What a tier leaves there that is measured. No leading dot: CI does not keep hidden files."""

MEASURE = ("--cov", "--cov-report=")
"""What makes pytest measure coverage, and not report it."""

_PYTEST_EXIT: dict[int, tuple[Code, str | None]] = {
    0: (Code.PASSED, None),
    1: (Code.FAILED, "tests failed"),
    2: (Code.FAILED, "tests could not be collected, or the run was interrupted"),
    3: (Code.FAILED, "pytest had an internal error"),
    4: (Code.CONFIGURATION, "pytest was called wrongly: see its message above"),
    6: (Code.FAILED, "there were more warnings than allowed"),
    INFRASTRUCTURE_EXIT: (Code.INFRASTRUCTURE, "a server that the tests need is not there"),
    CONFIGURATION_EXIT: (Code.CONFIGURATION, "a setting is wrong"),
}


_STARTED = "STRATA_STARTED_IN"

_ROOM = 40
"""Bytes that the path of a temporary folder may have, for sockets in it: of the 100 that kernels
surely take, pytest takes 44 for a worker and for the test, and the test some for the socket."""


def arguments(
    tier: graph.Tier,
    package: graph.Package | None,
    part: TierResult,
    scratch: Path,
    posargs: Sequence[str],
) -> list[str]:
    """Return what to hand to the interpreter of the tier's environment.

    Raises:
        AbsentError: the tier has no tests here.
    """
    reports = part.folder.relative_to(graph.ROOT).as_posix()
    if not tier.paths:
        return ["-m", f"stratakit.{tier.name}", "--results", f"{reports}/{RESULTS}", *posargs]
    home = package.path if package else graph.ROOT
    folders = [folder.relative_to(graph.ROOT).as_posix() for folder in tier.folders(package)]
    return [
        *("-m", "pytest", "--tier", tier.name, "--home", home.relative_to(graph.ROOT).as_posix()),
        *("--reports", reports, "--basetemp", str(scratch / "t")),
        # What failed last is of this part alone; and where nothing did, nothing is to be repeated.
        *("-o", f"cache_dir=.pytest_cache/{tier.name}/{home.name}", "--lfnf", "none"),
        # Taken where no paths are given. Which words are paths, pytest alone can tell.
        *("-o", f"testpaths={shlex.join(map(escape, folders))}"),
        *posargs,
    ]


@contextmanager
def scratch(part: TierResult) -> Iterator[Path]:
    """Make a temporary folder for the tests of a part, and remove it at the end of the block.

    Pytest's own is one for all runs of a user, where each run clears the folders of others away.
    """
    usual = tempfile.gettempdir()
    short = "/tmp"  # noqa: S108 - what is made there is private, and has a name of its own
    deep = len(os.fsencode(usual)) > _ROOM - len("/strata-12345678/t") and os.access(short, os.W_OK)
    with tempfile.TemporaryDirectory(
        prefix="strata-", dir=short if deep else usual, ignore_cleanup_errors=True
    ) as folder:
        # Of several processes, nox stops those that it has started before they come to their end.
        part.scratch = folder
        part.save()
        yield Path(folder)


def variables(part: TierResult, started_in: str) -> dict[str, str]:
    """Return what a command gets in its environment that depends on the part, or on the caller."""
    return {"COVERAGE_FILE": str(part.file(COVERAGE_DATA)), _STARTED: started_in}


def started_in() -> Path:
    """Return the folder in which nox was started; without nox, the one that we are in."""
    return Path(os.environ.get(_STARTED) or Path.cwd())


def find(name: str) -> Path | None:
    """Return the path that somebody means who has started nox, perhaps in a folder of the project.

    Reports name files by their paths in the project, so these are good in any folder.
    """
    for base in (started_in(), graph.ROOT):
        path = Path(os.path.normpath(base / name))
        if path.exists():
            # Somebody may have come here by a link.
            return path if path.is_relative_to(graph.ROOT) else path.resolve()
    return None


def require_all_ran(measured: Sequence[TierResult]) -> None:
    """Refuse to judge what tiers have left of which not all could run.

    Raises:
        InfrastructureError: one could not.
    """
    for part in measured:
        if part.exit_code >= Code.INFRASTRUCTURE:
            raise InfrastructureError(f"not judged, since {part.title} could not run")


def set_result(tier: graph.Tier, part: TierResult, exit_code: int, posargs: Sequence[str]) -> None:
    """Read what the command left behind and say what its exit code means."""
    left: dict[str, Any] = {}
    if part.file(RESULTS).exists():
        left = json.loads(part.file(RESULTS).read_text(encoding="utf-8"))
        part.file(RESULTS).unlink()
    part.tests, part.absent = left.get("tests", []), left.get("absent", [])
    if left.get("status") == "empty":
        asked = shlex.join(word for word in posargs if word not in MEASURE)
        reason = left.get("reason") or f"no test was selected{asked and f' by {asked}'}"
        part.set_result(Code.PASSED, reason, status="empty")
        return
    code, reason = _meaning(tier, exit_code)
    if tier.paths and not exit_code and not part.tests:
        reason = "no test was run, since pytest was asked to show something instead"
    part.set_result(code, left.get("reason") or reason, status=left.get("status"))


def _meaning(tier: graph.Tier, exit_code: int) -> tuple[Code, str | None]:
    if exit_code < 0:
        return Code.FAILED, f"it was killed by signal {-exit_code}"
    if tier.paths:
        return _PYTEST_EXIT.get(exit_code, (Code.FAILED, f"pytest exited with {exit_code}"))
    if exit_code in set(Code):
        return Code(exit_code), "a check failed" if exit_code == Code.FAILED else None
    return Code.FAILED, f"it exited with {exit_code}"
