"""Make the static checks and report each: `python -m stratakit.static`."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from .. import liveness, location, pyproject, results
from ..errors import Code, ConfigurationError, InfrastructureError, StrataError, did_you_mean
from . import files
from .checks import CHECKS
from .runner import COLOUR, Outcome, outcomes, plain

NAMES = [check.name for check in CHECKS]

GREEN, YELLOW, RED = 32, 33, 31


def main(words: Sequence[str] | None = None) -> Code:
    """Do what `words` say and return the exit code."""
    made: list[Outcome] = []
    liveness.join()
    report: Path | None = None
    reason: str | None = None
    try:
        wish = parser().parse_args(words)
        report = wish.results
        location.require(Path.cwd())
        code, reason = check(wish, made)
    except StrataError as error:
        code, reason = error.code, str(error)
        sys.stderr.write(f"{error}\n")
    if report:
        results.write(report, json.dumps(record(made, reason)))
    return code


class Parser(argparse.ArgumentParser):
    """One whose errors are ours: argparse exits with 2, which means something else here."""

    def error(self, message: str) -> NoReturn:
        """Raise the message as a configuration error."""
        raise ConfigurationError(message, "uv run nox -s static -- --help")


def parser() -> Parser:
    """Return the parser of the command line."""
    made = Parser(prog="stratakit.static", description="Check the project without running it.")
    made.add_argument("--fix", action="store_true", help="fix what can be fixed")
    made.add_argument(
        "--only", action="append", default=[], metavar="NAME", help="a check to make; repeatable"
    )
    made.add_argument(
        "--require", action="append", default=[], metavar="NAME", help="one that must not be absent"
    )
    made.add_argument("--results", type=Path, help="where to write what came of it, as JSON")
    made.add_argument("files", nargs="*", help="files and folders to look at; all if none is given")
    return made


def check(wish: argparse.Namespace, made: list[Outcome]) -> tuple[Code, str | None]:
    """Make the checks that were asked for, add what comes of them to `made`, and judge it.

    Raises:
        ConfigurationError: a name is not known, or a setting is wrong.
        InfrastructureError: there is nothing to look at.
    """
    required = {*wish.require, *setting()}
    for name in (*wish.only, *sorted(required)):
        if name not in NAMES:
            raise ConfigurationError(
                f"there is no check {name!r}; there are: {', '.join(NAMES)}",
                did_you_mean(name, NAMES, "uv run nox -s static -- --only lint"),
            )
    present = files.project_files()
    chosen = files.choose(present, wish.files) if wish.files else present
    checks = [
        each
        for each in CHECKS
        if each.name in (wish.only or NAMES) and (each.of(chosen) or not wish.files)
    ]
    for outcome in outcomes(checks, present, chosen, fix=wish.fix):
        tell(outcome, required=outcome.check.name in required)
        made.append(outcome)
    return judge(made, required, nothing_is_fine=bool(wish.files))


def setting() -> list[str]:
    """Return `require` of the table `[tool.stratakit.static]`.

    Raises:
        ConfigurationError: it is no list of names.
    """
    table = pyproject.table().get("static", {})
    pyproject.refuse_unknown(table, ("require",), "[tool.stratakit.static] of pyproject.toml")
    names = table.get("require", [])
    if not isinstance(names, list):
        raise ConfigurationError(
            f"[tool.stratakit.static] in pyproject.toml holds {table}, not a list of names",
            'write, for example: require = ["hadolint"]',
        )
    return names


def judge(
    made: Sequence[Outcome], required: set[str], *, nothing_is_fine: bool
) -> tuple[Code, str | None]:
    """Return the exit code of all together, and the reason if it is not 0.

    Raises:
        InfrastructureError: not one check was made, though that was wanted.
    """
    failed = [each for each in made if each.code]
    missing = [each.check.name for each in made if each.absent and each.check.name in required]
    if missing:
        return (
            max([Code.INFRASTRUCTURE, *(each.code for each in failed)]),
            f"required, and absent: {', '.join(missing)}",
        )
    if failed:
        names = ", ".join(each.check.name for each in failed)
        return max(each.code for each in failed), f"a check failed: {names}"
    if not nothing_is_fine and all(each.absent for each in made):
        raise InfrastructureError("no check was made: what was asked for is absent here")
    return Code.PASSED, None


def tell(outcome: Outcome, *, required: bool) -> None:
    """Print what came of a check."""
    if outcome.absent:
        word, colour = "ABSENT", RED if required else YELLOW
        rest = f"though required: {outcome.absent}" if required else outcome.absent
    else:
        word, colour = ("FAILED", RED) if outcome.code else ("ok", GREEN)
        rest = f"{outcome.seconds:.1f} s"
    word = f"\x1b[{colour}m{word:<7}\x1b[0m" if COLOUR else f"{word:<7}"
    sys.stdout.write(f"{outcome.check.name:<13}{word} {rest}\n")
    if outcome.code:
        found = outcome.found if COLOUR else plain(outcome.found)
        sys.stdout.write(f"{found}\n  hint: {outcome.hint}\n")
    sys.stdout.flush()


def record(made: Sequence[Outcome], reason: str | None) -> dict[str, object]:
    """Return what came of it as the tier's results."""
    return {
        "reason": reason,
        "tests": [
            {
                "name": outcome.check.name,
                "status": "failed" if outcome.code else "passed",
                "duration": round(outcome.seconds, 3),
                "error": plain(outcome.found) or None,
                "metrics": {},
            }
            for outcome in made
            if not outcome.absent
        ],
        "absent": [
            {"name": outcome.check.name, "reason": outcome.absent}
            for outcome in made
            if outcome.absent
        ],
    }


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        # An ordinary exit would wait for the threads, which start a tool for each package in turn.
        os._exit(130)
