"""What a person asks of `nox -s coverage -- ...`.

Standard library only, since noxfile.py imports it.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .. import project, pyproject
from ..errors import AbsentError, ConfigurationError


@dataclass(frozen=True, slots=True)
class CoverageOptions:
    """Which packages to judge, whether by data that is there, and what to tell pytest if not."""

    packages: tuple[project.Package, ...]
    combine: bool
    pytest: tuple[str, ...]

    def judge(self, left: Path, python: str | None) -> tuple[str, ...]:
        """Return what to tell stratakit.coverage; the tiers have left their data in `left`."""
        packages = (word for each in self.packages for word in ("--package", each.name))
        words = ("--python", python) if python else ()
        return "--left", str(left.relative_to(pyproject.ROOT)), *words, *packages


def parse(words: Sequence[str]) -> CoverageOptions:
    """Return what `words` ask for; those that are not ours are pytest's.

    Raises:
        AbsentError: there is nothing to judge.
        ConfigurationError: a package is not known, or a word would have no effect.
    """
    # pytest has options that begin as ours do, and a help of its own.
    parser = argparse.ArgumentParser(allow_abbrev=False, add_help=False, exit_on_error=False)
    parser.add_argument("--combine", action="store_true")
    parser.add_argument("--package", "--service", dest="packages", action="append", default=[])
    try:
        known, rest = parser.parse_known_args(words)
    except argparse.ArgumentError as error:
        raise ConfigurationError(str(error), "uv run nox -s coverage -- --package NAME") from None
    if known.combine and rest:
        raise ConfigurationError(
            f"--combine runs no tests; remove: {' '.join(rest)}",
            "uv run nox -s coverage -- --combine",
        )
    if not project.packages():
        raise AbsentError("there is no service in services/", "uv run invoke graph")
    named = tuple(project.package(name) for name in known.packages)
    return CoverageOptions(named or project.packages(), known.combine, tuple(rest))
