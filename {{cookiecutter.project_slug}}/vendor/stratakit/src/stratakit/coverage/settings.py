"""Settings and options of `nox -s coverage`: packages, paths and required percentages.

Standard library only, since noxfile.py reads them before any test runs.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import chain
from pathlib import Path
from typing import Any

from .. import project, pyproject
from ..errors import AbsentError, CommandLine, ConfigurationError
from ..pyproject import ROOT, refuse_unknown

WHOLE = 100
TABLE = "[tool.stratakit.coverage] of pyproject.toml"


@dataclass(frozen=True, slots=True)
class Settings:
    """Table `[tool.stratakit.coverage]`: required coverage, in percent of lines."""

    overall: float
    error_paths: float
    critical: float
    """Percentage for the files of each critical path."""
    critical_paths: tuple[str, ...]
    """Globs relative to the project; `**` matches any folders. Services add their own."""


@dataclass(frozen=True, slots=True)
class Options:
    """Arguments after `--`: packages to check, whether to use existing data, pytest's arguments."""

    packages: tuple[project.Package, ...]
    combine: bool
    pytest: tuple[str, ...]

    def judge(self, left: Path, python: str | None) -> list[str]:
        """Return the arguments of stratakit.coverage; `left` is the folder of the tiers' data."""
        words = ["--left", str(left.relative_to(ROOT))]
        words += ["--python", python] if python else []
        return words + [word for each in self.packages for word in ("--package", each.name)]


def load() -> Settings:
    """Return the settings.

    Raises:
        ConfigurationError: a key is missing, unknown or invalid, or a path matches no file.
    """
    table: dict[str, Any] = pyproject.table().get("coverage", {})
    known = [field.name for field in fields(Settings)]
    # Before missing keys: a misspelt key is also a missing one.
    refuse_unknown(table, known, TABLE)
    for key in {*known} - {*table}:
        raise ConfigurationError(f"{TABLE} lacks the key {key}", f"its keys are {', '.join(known)}")
    *percentages, paths = known
    for key in percentages:
        value = table[key]
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= WHOLE:
            raise ConfigurationError(
                f"{key} = {value!r} in {TABLE} is not a number from 0 to 100",
                f"write a number from 0 to {WHOLE}, for example: {key} = 80",
            )
    _refuse_bad_globs(f"{paths} in {TABLE}", table[paths])
    critical = list(table[paths])
    for service in project.services():
        home = service.path.relative_to(ROOT).as_posix()
        globs = [f"{home}/{glob}" for glob in service.critical]
        _refuse_bad_globs(f"critical in [tool.stratakit.service] of {home}/pyproject.toml", globs)
        critical += globs
    values: dict[str, Any] = {**table, paths: tuple(critical)}
    return Settings(**values)


def parse(words: Sequence[str]) -> Options:
    """Return the options; unknown arguments are passed on to pytest.

    Raises:
        AbsentError: the project has no packages.
        ConfigurationError: a package is unknown, or an argument would have no effect.
    """
    # No abbreviations and no --help: pytest has options with the same prefixes, and its own help.
    hint = "uv run nox -s coverage -- --package NAME"
    parser = CommandLine(hint, allow_abbrev=False, add_help=False)
    parser.add_argument("--combine", action="store_true")
    parser.add_argument("--package", "--service", dest="packages", action="append", default=[])
    known, rest = parser.parse_known_args(words)
    if known.combine and rest:
        raise ConfigurationError(
            f"--combine runs no tests; remove: {' '.join(rest)}",
            "uv run nox -s coverage -- --combine",
        )
    if not project.packages():
        raise AbsentError("there is no service in services/", "uv run invoke graph")
    named = tuple(project.package(name) for name in known.packages)
    return Options(named or project.packages(), known.combine, tuple(rest))


def sources(chosen: Sequence[project.Package]) -> dict[str, list[str]]:
    """Return the Python files in src/ of each of these packages, by folder.

    Libraries without tests are included only with all packages: a single service runs too little
    of a library for its coverage to be meaningful.
    """
    folders = [package.path for package in chosen]
    if set(chosen) == set(project.packages()):
        folders += sorted({path.parent for path in ROOT.glob("libs/*/src")} - {*folders})
    return {
        folder.relative_to(ROOT).as_posix(): [
            file.relative_to(ROOT).as_posix() for file in sorted((folder / "src").rglob("*.py"))
        ]
        for folder in folders
    }


def files(glob: str) -> frozenset[str]:
    """Return the files of a critical path."""
    return frozenset(path.relative_to(ROOT).as_posix() for path in ROOT.glob(glob))


def _refuse_bad_globs(where: str, value: object) -> None:
    """Refuse a value that is not a list of globs, or a glob that matches no measured file."""
    key = where.partition(" ")[0]
    example = f'write globs, for example: {key} = ["services/*/src/*/domain.py"]'
    if not isinstance(value, list) or not all(isinstance(glob, str) for glob in value):
        raise ConfigurationError(f"{where} is not a list of strings", example)
    covered = frozenset(chain.from_iterable(sources(project.packages()).values()))
    for glob in value:
        try:
            found = files(glob)
        except (ValueError, NotImplementedError) as error:
            raise ConfigurationError(f"{where} holds {glob!r}: {error}", example) from None
        if covered.isdisjoint(found):
            raise ConfigurationError(
                f"{where} holds {glob!r}, which matches no Python file in the src/ of a service"
                " or a library",
                f"correct the path, or remove it; {example}",
            )
