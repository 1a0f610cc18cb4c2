"""Command line of the doctor if Invoke does not start: `python3 -m stratakit.doctor` in its `src`.

It runs on any Python from 3.11 on, with nothing installed.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from .. import location, streams
from ..errors import Code, CommandLine, StrataError
from . import examine


def main(words: Sequence[str] | None = None) -> Code:
    """Run the checks requested on the command line, and return the exit code."""
    parser = CommandLine(
        "python3 -m stratakit.doctor --help",
        prog="stratakit.doctor",
        description="Show what each tier is missing.",
    )
    parser.add_argument("--tier", help="check only what this tier needs")
    parser.add_argument("--json", action="store_true", help="print JSON")
    try:
        options = parser.parse_args(words)
        location.require(Path.cwd())
        return examine(options.tier, as_json=options.json)
    except StrataError as error:
        sys.stderr.write(f"{error}\n")
        return error.code


if __name__ == "__main__":
    streams.prepare()
    sys.exit(main())
