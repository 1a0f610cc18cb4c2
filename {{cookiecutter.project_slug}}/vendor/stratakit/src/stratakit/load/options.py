"""The command line of `stratakit.load`: Locust's own words, and ours."""

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

from ..errors import CommandLine, ConfigurationError

HELP = "uv run nox -s load -- --help"


def parse(words: Sequence[str] | None = None) -> tuple[argparse.Namespace, list[str]]:
    """Return our options, and the words for Locust.

    Raises:
        ConfigurationError: an option has a value that it cannot have.
    """
    parser = CommandLine(
        HELP,
        prog="stratakit.load",
        description="Measure how many requests a service takes, and how long each one waits.",
        epilog="All other options are Locust's, such as --processes 2, --tags or a class of users.",
        allow_abbrev=False,
    )
    parser.add_argument("--home", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--results", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--scratch", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("-u", "--users", type=_count, default=10, help="who ask at once (10)")
    parser.add_argument(
        "-r", "--spawn-rate", type=_number, default=2.0, help="of them, how many begin a second (2)"
    )
    parser.add_argument(
        "-t", "--run-time", type=_time, default=30.0, help="of each phase, as 60s or 1m30s (30s)"
    )
    parser.add_argument("-H", "--host", help="whom to ask, in the place of a service of this run")
    parser.add_argument(
        "--rate",
        type=_number,
        help="tasks that arrive a second in the open phase (70 %% of what the closed one began)",
    )
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument(
        "--sweep", metavar="1,2,5,...", help="closed phases at these users, to find the knee"
    )
    instead.add_argument(
        "--soak", type=_time, metavar="TIME", help="one phase in which growth of processes fails"
    )
    parser.add_argument("--save", metavar="NAME", help="keep the figures under a name")
    parser.add_argument("--baseline", metavar="NAME", help="compare with runs that were kept")
    parser.add_argument(
        "--strict", action="store_true", help="fail where one is worse, beyond the noise"
    )
    asked, rest = parser.parse_known_args(words)
    if asked.strict and not asked.baseline:
        raise ConfigurationError(
            "--strict compares with runs that were kept, and none are named",
            "for example: --baseline main --strict",
        )
    return asked, rest


def _count(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise ConfigurationError(f"{text} is not a number of users", "for example: -u 10")
    return int(text)


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0
    if not 0 < value < float("inf"):
        raise ConfigurationError(
            f"{text} is not a number above 0", "for example: -r 2 or --rate 50"
        )
    return value


def _time(text: str) -> float:
    """Return the seconds of a time as Locust has it: 90, 90s, 1m30s, 2h."""
    found = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s?)?", text)
    parts = [float(part or 0) for part in found.groups()] if found else [0.0]
    seconds = sum(part * unit for part, unit in zip(parts, (3600, 60, 1), strict=False))
    if not seconds:
        raise ConfigurationError(f"{text} is not a time", "for example: -t 60s or -t 1m30s")
    return seconds
