"""The graph for people and programs: a table, JSON, Mermaid.

The table and the picture in README.md are these; the template's tests compare them.
"""

import json
from collections.abc import Callable
from typing import Any

from . import tiers
from .project import libraries, services
from .tiers import Resource, Tier


def table() -> str:
    """Return the tiers as a Markdown table."""
    rows = [
        ("tier", "checks", "asked of", "needs", "by default", "budget"),
        ("---",) * 6,
        *(
            (
                f"`{tier.name}`",
                tier.checks.replace("|", "\\|"),
                _SCOPES[tier.scope],
                ", ".join(each.name for each in tier.needs) or "nothing",
                "yes" if tier.default else "no",
                _budget(tier),
            )
            for tier in tiers.load()
        ),
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def as_json() -> str:
    """Return the whole graph as JSON."""
    return json.dumps(
        {
            "tiers": [_tier(tier) for tier in tiers.load()],
            "services": [
                {"name": each.name, "package": each.package, "needs": list(each.needs)}
                for each in services()
            ],
            "libraries": [{"name": each.name} for each in libraries()],
        },
        indent=2,
    )


def mermaid() -> str:
    """Return the graph as a Mermaid flowchart: what is asked about, by which tier, needing what."""
    lines = ["flowchart LR"]
    for tier in tiers.load():
        lines.append(f"    {tier.scope}[{_SCOPES[tier.scope]}] --> {tier.name}([{tier.name}])")
        lines += [f"    {tier.name} --> {each.name}[({each.name})]" for each in tier.needs]
    return "\n".join(lines)


_SCOPES = {
    "repository": "the repository",
    "package": "each service and library",
    "service": "each service",
}


FORMATS: dict[str, Callable[[], str]] = {"table": table, "json": as_json, "mermaid": mermaid}


def _tier(tier: Tier) -> dict[str, Any]:
    return {
        "name": tier.name,
        "checks": tier.checks,
        "scope": tier.scope,
        "paths": list(tier.paths),
        "needs": [_resource(each) for each in tier.needs],
        "default": tier.default,
        "tags": list(tier.tags),
        "parallel": tier.parallel,
        "budget_seconds": tier.budget,
        "test_budget_seconds": tier.test_budget,
        "test_timeout_seconds": tier.timeout,
    }


def _resource(resource: Resource) -> dict[str, str]:
    return {"name": resource.name, "means": resource.description}


def _budget(tier: Tier) -> str:
    whole = f"{tier.budget:g} s" if tier.budget else "as asked"
    return f"{whole}, {tier.test_budget:g} s a test" if tier.test_budget else whole
