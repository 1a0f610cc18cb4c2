"""Findings for people: a table, and a line that says what it comes to."""

import json
import os
import sys
from collections.abc import Sequence

from .. import graph
from ..errors import Code
from ..graph import Tier
from .checks import CHECKS
from .findings import Finding, examine, verdict

_COLOURS = {"ok": 32, "optional": 33, "missing": 31, "broken": 31}
_CONCLUSIONS = {
    Code.PASSED: "all that {tiers} need is there",
    Code.INFRASTRUCTURE: "infrastructure: something that {tiers} need is missing",
    Code.CONFIGURATION: "configuration: something is wrong, not only missing",
}


def tell(tier: str | None, *, as_json: bool) -> Code:
    """Look at what one tier needs, or at everything for those that run by default, and print it.

    Raises:
        ConfigurationError: there is no such tier.
    """
    tiers = [graph.tier(tier)] if tier else [each for each in graph.TIERS if each.default]
    checks = [each for each in CHECKS if not tier or each.tiers(tiers[0])]
    findings = examine(tiers, checks)
    text = record(findings, tiers) if as_json else table(findings, tiers)
    sys.stdout.write(f"{text}\n")
    return verdict(findings)


def table(findings: Sequence[Finding], tiers: Sequence[Tier]) -> str:
    """Return the findings as a table, followed by what they come to."""
    width = max((len(finding.check.name) for finding in findings), default=0)
    lines = [line for finding in findings for line in _lines(finding, width)]
    code = verdict(findings)
    names = ", ".join(tier.name for tier in tiers)
    return "\n".join([*lines, f"exit {code} ({_CONCLUSIONS[code].format(tiers=names)})"])


def record(findings: Sequence[Finding], tiers: Sequence[Tier]) -> str:
    """Return the findings as JSON."""
    return json.dumps(
        {
            "exit_code": int(verdict(findings)),
            "tiers": [tier.name for tier in tiers],
            "checks": [finding.as_dict() for finding in findings],
        },
        indent=2,
    )


def _lines(finding: Finding, width: int) -> list[str]:
    status = f"{finding.status:<8}"
    if sys.stdout.isatty() and not os.environ.get("NO_COLOR"):
        status = f"\x1b[{_COLOURS[finding.status]}m{status}\x1b[0m"
    indent = "\n" + " " * (width + 11)
    lines = [f"{finding.check.name:<{width}}  {status} {finding.found.replace(chr(10), indent)}"]
    if finding.code:
        users = ", ".join([*finding.tiers, *finding.check.actions])
        lines += [f"{indent[1:]}for: {users}"] if users else []
        lines += [f"{indent[1:]}hint: {finding.hint}"] if finding.hint else []
    return lines
