"""`invoke graph` and `invoke ci.matrix`: what people, programs and CI read of the tiers.

The table and the picture in README.md are printed here; the template's tests compare them. A tier
that runs by default is checked on every change, in test.yml; any other at night, in nightly.yml.
Workflows hold no names of tiers or services: they ask for them when they run.
"""

import json
from dataclasses import asdict
from math import ceil
from typing import Any, Literal

from invoke.collection import Collection
from invoke.context import Context

from .. import tiers
from ..errors import AbsentError, ConfigurationError
from ..project import Package, folders, libraries, packages_of, services
from ..pyproject import table as settings
from ..runner import MEASURE
from ..tiers import INTEGRATION, UNIT, Tier
from . import console
from .executor import task

SETUP = 10 * 60
"""Seconds that CI adds for an empty cache, images to pull and reports to keep."""
SLOWER = 2
"""How many times as long as a developer's machine a shared runner may take."""
UNBUDGETED = 30 * 60
"""Seconds for a tier that has no budget."""

WORDS = {
    # For the job that judges them together.
    UNIT: MEASURE,
    INTEGRATION: MEASURE,
}
"""The options that CI passes to a tier after `--`."""

_SCOPES = {
    "repository": "the repository",
    "package": "each service and library",
    "service": "each service",
}
_SECONDS = {
    "budget": "budget_seconds",
    "test_budget": "test_budget_seconds",
    "timeout": "test_timeout_seconds",
}
"""What JSON calls the keys of a tier that are seconds."""


@task(help={"format": "table, json or mermaid"})
def graph(_: Context, format: Literal["table", "json", "mermaid"] = "table") -> None:  # noqa: A002 - the flag's name
    """Print the task graph: tiers, their needs, services and libraries."""
    formats = {"table": table, "json": as_json, "mermaid": mermaid}
    console.say(formats[format]())


def table() -> str:
    """Return the tiers as a Markdown table."""
    rows = [("tier", "checks", "asked of", "needs", "by default", "budget"), ("---",) * 6]
    for tier in tiers.load():
        budget = f"{tier.budget:g} s" if tier.budget else "as asked"
        rows.append(
            (
                f"`{tier.name}`",
                tier.checks.replace("|", "\\|"),
                _SCOPES[tier.scope],
                ", ".join(each.name for each in tier.needs) or "nothing",
                "yes" if tier.default else "no",
                f"{budget}, {tier.test_budget:g} s a test" if tier.test_budget else budget,
            )
        )
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def as_json() -> str:
    """Return the whole graph as JSON."""
    return json.dumps(
        {
            "tiers": [
                {
                    **{_SECONDS.get(key, key): value for key, value in asdict(tier).items()},
                    "needs": [
                        {"name": each.name, "means": each.description} for each in tier.needs
                    ],
                    "tags": tier.tags,
                }
                for tier in tiers.load()
            ],
            "services": [
                {"name": each.name, "package": each.package, "needs": each.needs}
                for each in services()
            ],
            "libraries": [{"name": each.name} for each in libraries()],
        },
        indent=2,
    )


def mermaid() -> str:
    """Return the graph as a Mermaid flowchart: what is checked, by which tier, needing what."""
    lines = ["flowchart LR"]
    for tier in tiers.load():
        lines.append(f"    {tier.scope}[{_SCOPES[tier.scope]}] --> {tier.name}([{tier.name}])")
        lines += [f"    {tier.name} --> {each.name}[({each.name})]" for each in tier.needs]
    return "\n".join(lines)


@task(positional=["workflow"], help={"workflow": "test or nightly"})
def matrix(_: Context, workflow: Literal["test", "nightly"]) -> None:
    """Print the jobs of a workflow as outputs of a GitHub step, NAME=VALUE."""
    python = settings().get("python")
    if not isinstance(python, str):
        raise ConfigurationError(
            "[tool.stratakit] in pyproject.toml does not say which Python CI and the images have",
            'write it, for example: python = "3.13"',
        )
    jobs, absent = _jobs(nightly=workflow == "nightly")
    images = [each.name for each in services() if (each.path / "Dockerfile").exists()]
    console.say(
        f"jobs={json.dumps(jobs)}\nimages={json.dumps(images)}\npython={python}\n"
        f"absent={'; '.join(absent) or 'nothing'}"
    )


def _jobs(*, nightly: bool) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the jobs of a workflow, and for each tier without tests why it has no job.

    Of a job, `session` is what to ask nox for, `words` what to put after `--`, `minutes` after how
    many it is stopped, and `stack` whether a stack has to run.
    """
    jobs: list[dict[str, Any]] = []
    absent: list[str] = []
    for tier in tiers.load():
        if tier.default is nightly:
            continue
        # Without packages the tier is asked for all the same, and says what is missing.
        for package in packages_of(tier) or (None,):
            session = f"{tier.name}({package.name})" if package else tier.name
            reason = None if tier.default else _absence(tier, package)
            if reason:
                absent.append(f"{session}: {reason}")
                continue
            seconds = SETUP + (SLOWER * tier.budget if tier.budget else UNBUDGETED)
            jobs.append(
                {
                    "session": session,
                    "words": " ".join(WORDS.get(tier.name, ())),
                    "minutes": ceil(seconds / 60),
                    "stack": tier.requires("stack"),
                }
            )
    return jobs, absent


def _absence(tier: Tier, package: Package | None) -> str | None:
    """Return why a tier has no tests; None if it has some."""
    try:
        folders(tier, package)
    except AbsentError as error:
        return error.message
    return None


ci = Collection("ci", matrix)
