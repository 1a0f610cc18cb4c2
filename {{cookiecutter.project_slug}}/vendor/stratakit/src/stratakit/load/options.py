"""Command line of `stratakit.load`: our options, and those passed on to Locust."""

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

from ..errors import CommandLine, ConfigurationError

HELP = "uv run nox -s load -- --help"


def parse(words: Sequence[str] | None = None) -> tuple[argparse.Namespace, list[str]]:
    """Return our options, and the arguments for Locust.

    Raises:
        ConfigurationError: an option has an invalid value.
    """
    parser = CommandLine(
        HELP,
        prog="stratakit.load",
        description="Measure the throughput and latency of a service under load.",
        epilog="All other options are Locust's, such as --processes 2, --tags or a user class.",
        allow_abbrev=False,
    )
    parser.add_argument("--home", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--results", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--scratch", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("-u", "--users", type=_count, default=10, help="concurrent users (10)")
    parser.add_argument(
        "-r", "--spawn-rate", type=_number, default=2.0, help="users to start per second (2)"
    )
    parser.add_argument(
        "-t", "--run-time", type=_time, default=30.0, help="of each phase, as 60s or 1m30s (30s)"
    )
    parser.add_argument("-H", "--host", help="URL of a running service to test instead")
    parser.add_argument(
        "--rate",
        type=_number,
        help="tasks arriving per second in the open phase (70 %% of the closed phase's rate)",
    )
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument(
        "--sweep", metavar="1,2,5,...", help="closed phases with these users, to find the knee"
    )
    instead.add_argument(
        "--soak", type=_time, metavar="TIME", help="one phase that fails if a process leaks"
    )
    parser.add_argument("--save", metavar="NAME", help="save the figures under a name")
    parser.add_argument("--baseline", metavar="NAME", help="compare with saved figures")
    parser.add_argument(
        "--strict", action="store_true", help="fail if a figure is worse beyond the noise"
    )
    asked, rest = parser.parse_known_args(words)
    if asked.strict and not asked.baseline:
        raise ConfigurationError(
            "--strict compares with saved figures, and none are named",
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
    """Return the seconds of a time in Locust's format: 90, 90s, 1m30s, 2h."""
    found = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s?)?", text)
    parts = [float(part or 0) for part in found.groups()] if found else [0.0]
    seconds = sum(part * unit for part, unit in zip(parts, (3600, 60, 1), strict=False))
    if not seconds:
        raise ConfigurationError(f"{text} is not a time", "for example: -t 60s or -t 1m30s")
    return seconds
