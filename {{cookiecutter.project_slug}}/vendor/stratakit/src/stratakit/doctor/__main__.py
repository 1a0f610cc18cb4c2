"""Run the doctor where Invoke does not start: `python3 -m stratakit.doctor` in its `src`.

Any Python from 3.11 on will do, with nothing installed.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from .. import location
from ..errors import Code, ConfigurationError, StrataError
from . import show


class Parser(argparse.ArgumentParser):
    """One whose errors are ours: argparse exits with 2, which means something else here."""

    def error(self, message: str) -> NoReturn:
        """Raise the message as a configuration error."""
        raise ConfigurationError(message, "python3 -m stratakit.doctor --help")


def main(words: Sequence[str] | None = None) -> Code:
    """Do what `words` say and return the exit code."""
    parser = Parser(prog="stratakit.doctor", description="Say what is missing for which tier.")
    parser.add_argument("--tier", help="only what this one needs")
    parser.add_argument("--json", action="store_true", help="print JSON")
    try:
        wish = parser.parse_args(words)
        location.require(Path.cwd())
        return show.tell(wish.tier, as_json=wish.json)
    except StrataError as error:
        sys.stderr.write(f"{error}\n")
        return error.code


if __name__ == "__main__":
    sys.exit(main())
