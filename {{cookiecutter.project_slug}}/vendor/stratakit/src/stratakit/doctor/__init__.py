"""Look at what this machine has, what is missing for which tier, and the command that gets it.

It has to work where little else does: at import it needs the standard library alone. What a check
needs beyond that it imports itself, and whichever way a check fails, that is a finding.
"""

import json
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from .. import environment, tiers
from ..errors import Code, ConfigurationError, InfrastructureError, StrataError
from ..tiers import Tier, named
from .checks import Check, checks

_COLOURS = {"ok": 32, "optional": 33, "missing": 31, "broken": 31}
_CONCLUSIONS = {
    Code.PASSED: "all that {tiers} need is there",
    Code.INFRASTRUCTURE: "infrastructure: something that {tiers} need is missing",
    Code.CONFIGURATION: "configuration: something is wrong, not only missing",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of a check: what is there, or the error that it raised."""

    check: Check
    found: str
    code: Code
    hint: str
    tiers: list[str]
    """The tiers that were asked about and do not run without it."""

    @property
    def status(self) -> str:
        """Return the word for it: `ok`, `missing`, `broken`, or `optional` if nobody needs it."""
        if self.code == Code.INFRASTRUCTURE and not self.tiers:
            return "optional"
        return {Code.PASSED: "ok", Code.CONFIGURATION: "broken"}.get(self.code, "missing")


def examine(tier: str | None, *, as_json: bool) -> Code:
    """Check what one tier needs, or everything for those that run by default, and print it.

    Returns:
        The exit code: the worst of the findings. What is missing counts where a tier needs it; a
        wrong setting always does.

    Raises:
        ConfigurationError: there is no such tier.
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


def _find(chosen: Sequence[Tier], wanted: Sequence[Check]) -> list[Finding]:
    """Make the checks side by side: half of them wait for another program."""
    workers = len(wanted) or 1
    # Threads that import packages at once may meet them half made,
    try:
        from .. import stack  # noqa: F401 - with all that it imports
    except ImportError:
        # as they do again where each of them tries, and fails.
        workers = 1
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(partial(_make, tiers=chosen), wanted))


def _make(check: Check, tiers: Sequence[Tier]) -> Finding:
    """Make one check, and return its result whichever way it fails."""
    code, hint = Code.PASSED, ""
    try:
        found = check.probe()
    except StrataError as error:
        code, found, hint = error.code, error.message, error.hint
    except ImportError as error:
        lack: StrataError = InfrastructureError(
            f"{sys.executable} has not what the project installs", "uv run invoke setup"
        )
        if environment.VENV.exists() and environment.VENV.samefile(sys.prefix):
            lack = environment.incomplete(error)
        code, found, hint = lack.code, f"cannot be looked at: {lack.message}", lack.hint
    except Exception as error:  # noqa: BLE001 - the doctor outlives whatever is broken
        code, found = Code.CONFIGURATION, f"cannot be looked at: {type(error).__name__}: {error}"
    return Finding(check, found, code, hint, [each.name for each in tiers if check.tiers(each)])


def _print(finding: Finding, width: int) -> None:
    """Print a finding as a row of the table; if something is wrong, with who needs it."""
    status = f"{finding.status:<8}"
    if sys.stdout.isatty() and not os.environ.get("NO_COLOR"):
        status = f"\x1b[{_COLOURS[finding.status]}m{status}\x1b[0m"
    lines = [f"{finding.check.name:<{width}}  {status} {finding.found}"]
    if finding.code:
        users = ", ".join([*finding.tiers, *finding.check.actions])
        lines += [f"for: {users}"] if users else []
        lines += [f"hint: {finding.hint}"] if finding.hint else []
    text = "\n".join(lines).replace("\n", "\n" + " " * (width + 11))
    sys.stdout.write(f"{text}\n")
