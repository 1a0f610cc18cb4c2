"""Command line of the static checks: `python -m stratakit.static`."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from .. import liveness, location, pyproject, results, streams
from ..errors import (
    Code,
    CommandLine,
    ConfigurationError,
    InfrastructureError,
    StrataError,
    did_you_mean,
)
from ..runner import find
from .checks import CHECKS
from .runner import Outcome, outcomes, plain, project_files

NAMES = [check.name for check in CHECKS]

GREEN, YELLOW, RED = 32, 33, 31


def main(words: Sequence[str] | None = None) -> Code:
    """Run the checks requested on the command line, and return the exit code."""
    parser = CommandLine(
        "uv run nox -s static -- --help",
        prog="stratakit.static",
        description="Check the project without running it.",
    )
    parser.add_argument("--fix", action="store_true", help="fix what can be fixed")
    parser.add_argument(
        "--only", action="append", default=[], metavar="NAME", help="a check to run; repeatable"
    )
    parser.add_argument(
        "--require", action="append", default=[], metavar="NAME", help="one that must not be absent"
    )
    parser.add_argument("--results", type=Path, help="where to write the results, as JSON")
    parser.add_argument("files", nargs="*", help="files and folders to check; default: all")
    made: list[Outcome] = []
    liveness.join()
    report: Path | None = None
    reason: str | None = None
    try:
        options = parser.parse_args(words)
        report = options.results
        location.require(Path.cwd())
        code, reason = check(options, made)
    except StrataError as error:
        code, reason = error.code, str(error)
        sys.stderr.write(f"{error}\n")
    if report:
        results.write(report, json.dumps(record(made, reason)))
    return code


def check(options: argparse.Namespace, made: list[Outcome]) -> tuple[Code, str | None]:
    """Run the requested checks, and add the outcome of each to `made`.

    Returns:
        The overall exit code, and the reason if it is not 0.

    Raises:
        ConfigurationError: the name of a check is unknown, or a setting is invalid.
        InfrastructureError: all requested checks were absent.
    """
    required = {*options.require, *pyproject.required("static")}
    for name in (*options.only, *sorted(required)):
        if name not in NAMES:
            raise ConfigurationError(
                f"there is no check {name!r}; there are: {', '.join(NAMES)}",
                did_you_mean(name, NAMES, "uv run nox -s static -- --only lint"),
            )
    present = project_files()
    chosen = choose(present, options.files) if options.files else present
    checks = [
        each
        for each in CHECKS
        if each.name in (options.only or NAMES)
        # A check without a command forbids files, so it looks at the whole project: a commit may
        # complete an update that left such a file elsewhere.
        and (each.select(chosen if each.command else present) or not options.files)
    ]
    for outcome in outcomes(checks, present, chosen, fix=options.fix):
        print_outcome(outcome, required=outcome.check.name in required)
        made.append(outcome)
    failed = [each for each in made if each.code]
    missing = [each.check.name for each in made if each.absent and each.check.name in required]
    worst = max((each.code for each in failed), default=Code.PASSED)
    if missing:
        return max(Code.INFRASTRUCTURE, worst), f"required, and absent: {', '.join(missing)}"
    if failed:
        return worst, f"a check failed: {', '.join(each.check.name for each in failed)}"
    # With named files, it is fine if no check applies to them.
    if not options.files and all(each.absent for each in made):
        raise InfrastructureError("no check ran: all requested checks are absent here")
    return Code.PASSED, None


def choose(files: Sequence[str], names: Sequence[str]) -> list[str]:
    """Return the `files` that `names` match, as files or as folders containing them.

    Raises:
        ConfigurationError: one of the names does not exist.
    """
    named: set[Path | None] = set()
    for name in names:
        path = find(name)
        if not path:
            raise ConfigurationError(
                f"there is no file {name}", "name one, for example: noxfile.py"
            )
        named.add(location.relative(path.resolve()))
    return [file for file in files if not named.isdisjoint((Path(file), *Path(file).parents))]


def print_outcome(outcome: Outcome, *, required: bool) -> None:
    """Print the outcome of a check."""
    if outcome.absent:
        word, colour = "ABSENT", RED if required else YELLOW
        rest = f"though required: {outcome.absent}" if required else outcome.absent
    else:
        word, colour = ("FAILED", RED) if outcome.code else ("ok", GREEN)
        rest = "unchanged" if outcome.unchanged else f"{outcome.seconds:.1f} s"
    word = f"\x1b[{colour}m{word:<7}\x1b[0m" if streams.is_coloured() else f"{word:<7}"
    sys.stdout.write(f"{outcome.check.name:<13}{word} {rest}\n")
    if outcome.code:
        found = outcome.found if streams.is_coloured() else plain(outcome.found)
        sys.stdout.write(f"{found}\n  hint: {outcome.hint}\n")
    sys.stdout.flush()


def record(made: Sequence[Outcome], reason: str | None) -> dict[str, object]:
    """Return the outcomes in the form of a tier's results."""
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
    streams.prepare()
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        # A normal exit would wait for the threads, which keep starting tools for further packages.
        os._exit(130)
