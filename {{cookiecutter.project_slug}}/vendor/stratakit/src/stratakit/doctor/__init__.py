"""Checks of this machine: what is there, what each tier is missing, and the command to get it.

The doctor has to work where little else does, so its import needs only the standard library. A
check imports anything else itself, and any failure of a check is a finding.
"""

import json
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from .. import environment, streams, tiers
from ..errors import Code, ConfigurationError, InfrastructureError, StrataError
from ..tiers import Tier, named
from .checks import Check, checks

_COLOURS = {"ok": 32, "optional": 33, "missing": 31, "broken": 31}
_CONCLUSIONS = {
    Code.PASSED: "{tiers}: everything needed is there",
    Code.INFRASTRUCTURE: "infrastructure: something needed by {tiers} is missing",
    Code.CONFIGURATION: "configuration: something is wrong, not only missing",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """Result of a check: what was found, or the error that it raised."""

    check: Check
    found: str
    code: Code
    hint: str
    tiers: list[str]
    """Requested tiers that do not run without it."""

    @property
    def status(self) -> str:
        """Status: `ok`, `missing`, `broken`, or `optional` if missing but needed by no tier."""
        if self.code == Code.INFRASTRUCTURE and not self.tiers:
            return "optional"
        return {Code.PASSED: "ok", Code.CONFIGURATION: "broken"}.get(self.code, "missing")


def examine(tier: str | None, *, as_json: bool) -> Code:
    """Check the needs of one tier, or everything for the default tiers, and print the findings.

    Returns:
        The exit code: the worst of the findings. A missing thing counts only if a tier needs it; a
        wrong setting always counts.

    Raises:
        ConfigurationError: the tier is unknown.
    """
    known = _known(tier)
    chosen = [named("tier", tier, known)] if tier else [each for each in known if each.default]
    wanted = [each for each in checks(known) if not tier or each.tiers(chosen[0])]
    findings = _find(chosen, wanted)
    code = max((each.code for each in findings if each.status != "optional"), default=Code.PASSED)
    names = [each.name for each in chosen]
    if as_json:
        record = {
            "exit_code": int(code),
            "tiers": names,
            "checks": [
                {
                    "name": each.check.name,
                    "status": each.status,
                    "found": each.found,
                    "hint": each.hint,
                    "tiers": each.tiers,
                    "actions": each.check.actions,
                }
                for each in findings
            ],
        }
        sys.stdout.write(f"{json.dumps(record, indent=2)}\n")
    else:
        width = max((len(each.check.name) for each in findings), default=0)
        for each in findings:
            _print(each, width)
        conclusion = _CONCLUSIONS[code].format(tiers=", ".join(names))
        sys.stdout.write(f"exit {code} ({conclusion})\n")
    return code


def _known(name: str | None) -> tuple[Tier, ...]:
    """Return the tiers, or the engine's if pyproject.toml is invalid, which a check reports.

    Raises:
        ConfigurationError: pyproject.toml is invalid, and `name` is not a tier of the engine.
    """
    try:
        return tiers.load()
    except ConfigurationError:
        if name and not any(each.name == name for each in tiers.defaults()):
            raise
        return tiers.defaults()


def _find(chosen: Sequence[Tier], wanted: Sequence[Check]) -> list[Finding]:
    """Run the checks in parallel: half of them wait for another program."""
    workers = len(wanted) or 1
    # Import first: threads that import the same packages at once may see them half initialized.
    try:
        from .. import stack  # noqa: F401 - with all that it imports
    except ImportError:
        # Each check would retry the failing import, with the same problem in threads.
        workers = 1
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(partial(_make, tiers=chosen), wanted))


def _make(check: Check, tiers: Sequence[Tier]) -> Finding:
    """Run one check, and return its result, however it fails."""
    code, hint = Code.PASSED, ""
    try:
        found = check.probe()
    except StrataError as error:
        code, found, hint = error.code, error.message, error.hint
    except ImportError as error:
        lack: StrataError = InfrastructureError(
            f"{sys.executable} lacks the project's dependencies", "uv run invoke setup"
        )
        if environment.VENV.exists() and environment.VENV.samefile(sys.prefix):
            lack = environment.incomplete(error)
        code, found, hint = lack.code, f"cannot be checked: {lack.message}", lack.hint
    except Exception as error:  # noqa: BLE001 - the doctor must survive any failure
        code, found = Code.CONFIGURATION, f"cannot be checked: {type(error).__name__}: {error}"
    return Finding(check, found, code, hint, [each.name for each in tiers if check.tiers(each)])


def _print(finding: Finding, width: int) -> None:
    """Print a finding as a row of the table; for a problem, also its tiers, actions and hint."""
    status = f"{finding.status:<8}"
    if streams.is_coloured():
        status = f"\x1b[{_COLOURS[finding.status]}m{status}\x1b[0m"
    lines = [f"{finding.check.name:<{width}}  {status} {finding.found}"]
    if finding.code:
        users = ", ".join([*finding.tiers, *finding.check.actions])
        lines += [f"for: {users}"] if users else []
        lines += [f"hint: {finding.hint}"] if finding.hint else []
    text = "\n".join(lines).replace("\n", "\n" + " " * (width + 11))
    sys.stdout.write(f"{text}\n")
