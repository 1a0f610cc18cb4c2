"""Programs that no Python package provides; a test that needs a missing one is ABSENT."""

import shutil

from stratakit.errors import AbsentError

PACKAGES = {"git": "git", "ssh": "openssh-client", "ssh-keygen": "openssh-client"}
"""Debian package of each program."""


def need(*programs: str) -> None:
    """Continue only if all of these are installed.

    Raises:
        AbsentError: one is missing; the error names it.
    """
    for program in programs:
        if not shutil.which(program):
            why = f"there is no {program}"
            raise AbsentError(why, f"apt install {PACKAGES[program]}", part=program)
