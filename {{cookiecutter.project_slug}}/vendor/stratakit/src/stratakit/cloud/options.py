"""What a run of the tier is asked for: by its words, a profile and `[tool.stratakit.cloud]`.

A profile is a table of the same keys, `[tool.stratakit.cloud.staging]`, that `--profile staging`
takes; words win over it, and it wins over the table.
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
    """Each is a word of the command line and a key of the table."""

    cloud: str = providers.FREE
    """A provider by its name."""
    service: str = ""
    """Which one; by default the only one that has a smoke request."""
    instance: str = ""
    """What the provider calls a kind of machine; by default its own choice."""
    region: str = ""
    """Where; by default wherever it costs the least."""
    ttl: str = "15m"
    """How long the machine may exist, whatever happens."""
    max_usd: float = 0.30
    """What it may cost in that time."""
    host: str = ""
    """A machine that is there: it is asked, and none is launched."""

    @property
    def seconds(self) -> int:
        """The time to live.

        Raises:
            ConfigurationError: it is not a time.
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
            ConfigurationError: it is not there, has no smoke request, or several have one.
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
                f"{found.name} has no smoke request, which is asked once the machine is up"
                if found
                else "no service has a smoke request, which is asked once the machine is up",
                'write a file with `def smoke(url, settings)`; name it: smoke = "tests/smoke.py" in'
                " [tool.stratakit.service] of the service",
            )
        return found


def parse(words: Sequence[str] | None = None) -> tuple[Options, argparse.Namespace]:
    """Return what is asked for, and the words that are no options of the table.

    Raises:
        ConfigurationError: a word or a key is not known, or its value means nothing.
    """
    parser = CommandLine(
        HELP,
        prog="stratakit.cloud",
        description="Launch a machine, ask the service on it, and give it back.",
        allow_abbrev=False,
    )
    parser.add_argument("--results", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--cloud", help=f"{', '.join(providers.PROVIDERS)} ({providers.FREE})")
    parser.add_argument("--profile", help="take the table [tool.stratakit.cloud.PROFILE]")
    parser.add_argument("--service", help="which one (the only one with a smoke request)")
    parser.add_argument("--instance", help="kind of machine, as the cloud calls it")
    parser.add_argument("--region", help="where (wherever it costs the least)")
    parser.add_argument("--ttl", help="how long the machine may exist, as 15m or 1h30m (15m)")
    parser.add_argument("--max-usd", type=_money, help="what it may cost in that time (0.30)")
    parser.add_argument("--host", help="ask a service that runs there, and launch nothing")
    parser.add_argument(
        "--skip-teardown", action="store_true", help="leave the machine, until its time is over"
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
                    f"{name} = {value!r} in {TABLE} means nothing", f"see what it may be: {HELP}"
                )
    given = {name: getattr(asked, name) for name in known if getattr(asked, name) is not None}
    table = {**own, **profile}
    if given.get("cloud", table.get("cloud")) != table.get("cloud"):
        # Another cloud knows nothing of them.
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
