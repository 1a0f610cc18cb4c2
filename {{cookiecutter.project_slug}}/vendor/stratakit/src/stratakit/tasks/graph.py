"""`invoke graph`: the tiers as a table, JSON or a diagram.

The table and the diagram in README.md are this output; the template's tests compare them.
"""

import json
from dataclasses import asdict
from typing import Literal

from invoke.context import Context

from .. import tiers
from ..project import libraries, services
from . import console
from .executor import task

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
"""Names in JSON of a tier's keys that are seconds."""


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
    """Return the graph as a Mermaid flowchart: scopes, tiers and resources."""
    lines = ["flowchart LR"]
    for tier in tiers.load():
        lines.append(f"    {tier.scope}[{_SCOPES[tier.scope]}] --> {tier.name}([{tier.name}])")
        lines += [f"    {tier.name} --> {each.name}[({each.name})]" for each in tier.needs]
    return "\n".join(lines)
