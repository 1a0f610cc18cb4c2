"""Options of the tier cloud: from the command line, a profile and `[tool.stratakit.cloud]`.

A profile is a table with the same keys, such as `[tool.stratakit.cloud.staging]`, selected by
`--profile staging`; the command line overrides it, and it overrides the table.
"""

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from .. import project, pyproject
from ..errors import CommandLine, ConfigurationError, did_you_mean
from . import providers

HELP = "uv run nox -s cloud -- --help"
TABLE = "[tool.stratakit.cloud] of pyproject.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Options, each of them also a command line option and a key of the table."""

    cloud: str = providers.FREE
    """Name of the provider."""
    service: str = ""
    """Service to launch; by default the only one with a smoke request."""
    instance: str = ""
    """Provider's name of the machine type; by default the provider's choice."""
    region: str = ""
    """Region; by default the cheapest."""
    ttl: str = "15m"
    """Maximum lifetime of the machine, in any case."""
    max_usd: float = 0.30
    """Maximum cost in that time."""
    host: str = ""
    """URL of a running service to use instead of launching a machine."""

    @property
    def seconds(self) -> int:
        """Time to live in seconds.

        Raises:
            ConfigurationError: it is not valid.
        """
        found = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s?)?", self.ttl)
        parts = [int(part or 0) for part in found.groups()] if found else [0]
        seconds = sum(part * unit for part, unit in zip(parts, (3600, 60, 1), strict=False))
        if not seconds:
            raise ConfigurationError(
                f"{self.ttl!r} is not a time to live", "for example: --ttl 15m"
            )
        return seconds

    def chosen(self) -> project.Service:
        """Return the service.

        Raises:
            ConfigurationError: it is unknown, has no smoke request, or several have one.
        """
        able = [each for each in project.services() if each.smoke]
        found = project.service(self.service) if self.service else None
        if found is None and len(able) == 1:
            return able[0]
        if found is None and able:
            names = ", ".join(each.name for each in able)
            raise ConfigurationError(
                f"several services have a smoke request: {names}", f"--service {able[0].name}"
            )
        if found is None or not found.smoke:
            raise ConfigurationError(
                f"{found.name} has no smoke request to send once the machine is up"
                if found
                else "no service has a smoke request to send once the machine is up",
                'write a file with `def smoke(url, settings)`; name it: smoke = "tests/smoke.py" in'
                " [tool.stratakit.service] of the service",
            )
        return found


def parse(words: Sequence[str] | None = None) -> tuple[Options, argparse.Namespace]:
    """Return the options, and the arguments that are not keys of the table.

    Raises:
        ConfigurationError: an argument or a key is unknown, or its value is invalid.
    """
    parser = CommandLine(
        HELP,
        prog="stratakit.cloud",
        description="Launch a machine, send a request to the service on it, and terminate it.",
        allow_abbrev=False,
    )
    parser.add_argument("--results", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--cloud", help=f"{', '.join(providers.PROVIDERS)} ({providers.FREE})")
    parser.add_argument("--profile", help="use the table [tool.stratakit.cloud.PROFILE]")
    parser.add_argument("--service", help="service to launch (the only one with a smoke request)")
    parser.add_argument("--instance", help="machine type, by the cloud's name for it")
    parser.add_argument("--region", help="region (the cheapest)")
    parser.add_argument("--ttl", help="maximum lifetime of the machine, as 15m or 1h30m (15m)")
    parser.add_argument("--max-usd", type=_money, help="maximum cost in that time (0.30)")
    parser.add_argument("--host", help="URL of a running service to use; launch nothing")
    parser.add_argument(
        "--skip-teardown", action="store_true", help="keep the machine until its time is over"
    )
    asked = parser.parse_args(words)
    known = [field.name for field in fields(Options)]
    tables = pyproject.table().get("cloud", {})
    profiles = {name: value for name, value in tables.items() if isinstance(value, dict)}
    profile: dict[str, Any] = {}
    if asked.profile:
        if asked.profile not in profiles:
            raise ConfigurationError(
                f"there is no table [tool.stratakit.cloud.{asked.profile}] in pyproject.toml",
                did_you_mean(asked.profile, profiles, "write one, of the keys of the table"),
            )
        profile = profiles[asked.profile]
    own = {name: value for name, value in tables.items() if name not in profiles}
    for each in (own, *profiles.values()):
        pyproject.refuse_unknown(each, known, TABLE)
        for name, value in each.items():
            if type(value) not in ((int, float) if name == "max_usd" else (str,)):
                raise ConfigurationError(
                    f"{name} = {value!r} in {TABLE} is not valid", f"see what it may be: {HELP}"
                )
    given = {name: getattr(asked, name) for name in known if getattr(asked, name) is not None}
    table = {**own, **profile}
    if given.get("cloud", table.get("cloud")) != table.get("cloud"):
        # The table's values are meant for another cloud.
        table = {name: table[name] for name in table.keys() - {"instance", "region"}}
    options = Options(**{**table, **given})
    _money(str(options.max_usd))
    return options, asked


def _money(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1
    if not 0 <= value < float("inf"):
        raise ConfigurationError(
            f"{text} is not an amount of US dollars", "for example: --max-usd 0.30"
        )
    return value
