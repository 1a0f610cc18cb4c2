"""Programs that no Python package brings, without which a test is absent, and named so."""

import shutil

from stratakit.errors import AbsentError

PACKAGES = {"git": "git", "ssh": "openssh-client", "ssh-keygen": "openssh-client"}
"""The package of Debian that has a program."""


def need(*programs: str) -> None:
    """Go on where all of these are installed.

    Raises:
        AbsentError: one is not; it has its name.
    """
    for program in programs:
        if not shutil.which(program):
            why = f"there is no {program}"
            raise AbsentError(why, f"apt install {PACKAGES[program]}", part=program)
