"""What CI runs: the jobs of a workflow, derived from the graph.

A tier that runs by default is asked about every change, in test.yml; any other at night, in
nightly.yml. Workflows hold no names of tiers or services: they ask for them when they run.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from math import ceil
from typing import Any, Literal

from . import tiers
from .errors import AbsentError, ConfigurationError
from .project import Package, folders, packages_of, services
from .pyproject import table
from .runner import MEASURE
from .tiers import INTEGRATION, UNIT, Tier

Workflow = Literal["test", "nightly"]

SETUP = 10 * 60
"""Seconds for what is not the tier: an empty cache, images to pull, reports to keep."""
SLOWER = 2
"""How many times as long as a developer's machine a shared runner may take."""
UNBUDGETED = 30 * 60
"""Seconds for a tier that has no budget."""

WORDS = {
    # No wheel carries it: a developer's machine may be without it, CI may not.
    "static": ("--require", "actionlint"),
    # For the job that judges them together.
    UNIT: MEASURE,
    INTEGRATION: MEASURE,
}
"""What a tier is told in CI, and by a person only if they like."""


@dataclass(frozen=True, slots=True)
class Job:
    """One tier, of one service or library where it is per package; the keys are the matrix's."""

    session: str
    """What to ask nox for."""
    words: str
    """What to put after `--`."""
    minutes: int
    """After how many the job is stopped."""
    stack: bool
    """Whether a stack has to run."""


def matrix(workflow: Workflow) -> dict[str, Any]:
    """Return what a workflow has to know of the project, by the name of the output that tells it.

    Raises:
        ConfigurationError: a pyproject.toml cannot be read, or lacks a key.
    """
    absent: list[str] = []
    return {
        "jobs": [asdict(job) for job in _jobs(workflow, absent)],
        "images": [each.name for each in services() if (each.path / "Dockerfile").exists()],
        "python": _python(),
        "absent": "; ".join(absent) or "nothing",
    }


def _python() -> str:
    """Return the Python of CI.

    Raises:
        ConfigurationError: the project does not say.
    """
    python = table().get("python")
    if not isinstance(python, str):
        raise ConfigurationError(
            "[tool.stratakit] in pyproject.toml does not say which Python CI and the images have",
            'write it, for example: python = "3.13"',
        )
    return python


def _jobs(workflow: Workflow, absent: list[str]) -> Iterator[Job]:
    """Yield the jobs, and add to `absent` which tiers have no tests here, though they may."""
    for tier in tiers.load():
        if tier.default is not (workflow == "test"):
            continue
        # Without packages the tier is asked for all the same, and says what is missing.
        for package in packages_of(tier) or (None,):
            session = f"{tier.name}({package.name})" if package else tier.name
            reason = None if tier.default else _absence(tier, package)
            if reason:
                absent.append(f"{session}: {reason}")
            else:
                words = " ".join(WORDS.get(tier.name, ()))
                yield Job(session, words, _minutes(tier), tier.requires("stack"))


def _absence(tier: Tier, package: Package | None) -> str | None:
    """Return why a tier has no tests; None if it has some."""
    try:
        folders(tier, package)
    except AbsentError as error:
        return error.message
    return None


def _minutes(tier: Tier) -> int:
    seconds = SETUP + (SLOWER * tier.budget if tier.budget else UNBUDGETED)
    return ceil(seconds / 60)
