"""Refuse the subject of a commit that is too long: `python -m stratakit.static.subject FILE`.

A longer one, or one that runs on into a second line, is cut off wherever commits are listed.
"""

import sys
from pathlib import Path

from ..errors import Code

LONGEST = 72
BY_GIT = ("Merge ", "Revert ", "fixup! ", "squash! ", "amend! ")
"""How the subjects begin that git itself writes."""


def main() -> Code:
    """Read the message from the file that git names, and return the exit code."""
    message = Path(sys.argv[1]).read_text(encoding="utf-8", errors="replace")
    subject, second, *_ = [*message.split("\n"), ""]
    if subject.startswith(BY_GIT):
        return Code.PASSED
    if len(subject) > LONGEST:
        sys.stderr.write(f"the subject has {len(subject)} letters, and {LONGEST} are listed\n")
        return Code.FAILED
    if subject and second and not second.startswith("#"):
        sys.stderr.write("the subject runs on: leave the second line empty\n")
        return Code.FAILED
    return Code.PASSED


if __name__ == "__main__":
    sys.exit(main())
