"""Check of a commit's subject line: `python -m stratakit.static.subject FILE`.

A subject that is too long, or continues on a second line, is cut off wherever commits are listed.
"""

import sys
from pathlib import Path

from ..errors import Code

LONGEST = 72
BY_GIT = ("Merge ", "Revert ", "fixup! ", "squash! ", "amend! ")
"""Prefixes of subjects that git itself writes."""


def main() -> Code:
    """Read the message from the file that git names, and return the exit code."""
    message = Path(sys.argv[1]).read_text(encoding="utf-8", errors="replace")
    subject, second, *_ = [*message.split("\n"), ""]
    if subject.startswith(BY_GIT):
        return Code.PASSED
    if len(subject) > LONGEST:
        sys.stderr.write(f"the subject has {len(subject)} characters; the limit is {LONGEST}\n")
        return Code.FAILED
    if subject and second and not second.startswith("#"):
        sys.stderr.write("the subject runs on: leave the second line empty\n")
        return Code.FAILED
    return Code.PASSED


if __name__ == "__main__":
    sys.exit(main())
