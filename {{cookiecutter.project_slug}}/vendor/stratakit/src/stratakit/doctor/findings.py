"""Looking at everything, and what was found."""

import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

from .. import environment
from ..errors import Code, InfrastructureError, StrataError
from ..tiers import Tier
from .checks import Check


@dataclass(frozen=True, slots=True)
class Finding:
    """What a look has found: what is there, or the error that it raised."""

    check: Check
    found: str
    code: Code
    hint: str
    tiers: tuple[str, ...]
    """The tiers that were asked about and do not run without it."""

    @property
    def status(self) -> str:
        """What a person reads: `ok`, `missing`, `broken`, or `optional` for what nobody needs."""
        if self.code == Code.INFRASTRUCTURE and not self.tiers:
            return "optional"
        return {Code.PASSED: "ok", Code.CONFIGURATION: "broken"}.get(self.code, "missing")

    @property
    def verdict(self) -> Code:
        """What it means for the exit code. A wrong setting is wrong, whoever reads it."""
        return Code.PASSED if self.status == "optional" else self.code

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {
            "name": self.check.name,
            "status": self.status,
            "found": self.found,
            "hint": self.hint,
            "tiers": list(self.tiers),
            "actions": list(self.check.actions),
        }


def examine(tiers: Sequence[Tier], checks: Sequence[Check]) -> list[Finding]:
    """Look at everything, side by side, for `tiers`: half of the looks wait for somebody else."""
    workers = len(checks) or 1
    # Threads that import packages at once may meet them half made,
    try:
        from .. import stack  # noqa: F401 - with all that it imports
    except ImportError:
        # as they do again where each of them tries, and fails.
        workers = 1
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(partial(_look, tiers=tiers), checks))


def verdict(findings: Sequence[Finding]) -> Code:
    """Return the exit code: the worst."""
    return max((finding.verdict for finding in findings), default=Code.PASSED)


def _look(check: Check, tiers: Sequence[Tier]) -> Finding:
    code, hint = Code.PASSED, ""
    try:
        found = check.look()
    except StrataError as error:
        code, found, hint = error.code, error.message, error.hint
    except ImportError as error:
        lack = _incomplete(error)
        code, found, hint = lack.code, f"cannot be looked at: {lack.message}", lack.hint
    except Exception as error:  # noqa: BLE001 - the doctor outlives whatever is broken
        code, found = Code.CONFIGURATION, f"cannot be looked at: {type(error).__name__}: {error}"
    return Finding(
        check, found, code, hint, tuple(each.name for each in tiers if check.tiers(each))
    )


def _incomplete(error: ImportError) -> StrataError:
    if environment.VENV.exists() and environment.VENV.samefile(sys.prefix):
        return environment.incomplete(error)
    return InfrastructureError(
        f"{sys.executable} has not what the project installs", "uv run invoke setup"
    )
