"""The two ways in which something other than the code under test can be at fault."""

import difflib
from collections.abc import Iterable
from enum import IntEnum


class Code(IntEnum):
    """The exit code of every tier and every task; of several, the highest wins."""

    PASSED = 0
    FAILED = 1
    INFRASTRUCTURE = 2
    CONFIGURATION = 3


class OpsError(Exception):
    """What is wrong, why, and the command that mends it.

    `what` and `mend` are sentences for somebody who has never seen this project.
    """

    code = Code.FAILED
    status = "failed"

    def __init__(self, what: str, mend: str = "") -> None:
        super().__init__(what, mend)
        self.what = what
        self.mend = mend

    def __str__(self) -> str:
        return f"{self.status}: {self.what}" + (f"\n  mend: {self.mend}" if self.mend else "")


class InfrastructureError(OpsError):
    """Something needed is not reachable, does not start, or cannot be had."""

    code = Code.INFRASTRUCTURE
    status = "infrastructure"


class AbsentError(InfrastructureError):
    """A tier that was asked for, or a part that was required, is not in this project."""

    status = "absent"


class ConfigurationError(OpsError):
    """An unknown name, a bad setting, a missing or stale lock."""

    code = Code.CONFIGURATION
    status = "configuration"


MISSPELT = 0.9
"""How alike two names are of which one is taken for a misspelling of the other."""


def did_you_mean(name: str, known: Iterable[str], alike: float = 0.6) -> str:
    """Return `did you mean X? ` for the one of `known` that is most like `name`, if any is."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=alike)
    return f"did you mean {near[0]}? " if near else ""
