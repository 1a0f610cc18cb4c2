"""Findings for people: a table, and a line that says what it comes to."""

import json
import os
import sys
from collections.abc import Sequence

from .. import tiers
from ..errors import Code, ConfigurationError
from ..tiers import Tier, named
from .checks import checks
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
    known = _known(tier)
    chosen = [named("tier", tier, known)] if tier else [each for each in known if each.default]
    looks = [each for each in checks(known) if not tier or each.tiers(chosen[0])]
    findings = examine(chosen, looks)
    text = record(findings, chosen) if as_json else table(findings, chosen)
    sys.stdout.write(f"{text}\n")
    return verdict(findings)


def _known(name: str | None) -> tuple[Tier, ...]:
    """Return the tiers; where pyproject.toml is broken, those of the engine: a check says why.

    Raises:
        ConfigurationError: it is broken, and `name` is none of the engine's.
    """
    try:
        return tiers.load()
    except ConfigurationError:
        if name and not any(each.name == name for each in tiers.defaults()):
            raise
        return tiers.defaults()


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
