"""Tiers: their checks, folders of tests, required resources, and budgets.

The engine's tiers are in tiers.toml; `[tool.stratakit.tiers.NAME]` of the project's pyproject.toml
overrides keys of a tier, or adds one. Sessions, markers, CI and the tables in the documents are
derived from them.

Standard library only, since noxfile.py imports it in whatever environment runs nox.
"""

import os
import re
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from math import inf
from pathlib import Path, PurePosixPath
from typing import Any, Literal, NamedTuple, Protocol, TypeVar, get_args

from . import pyproject
from .errors import ConfigurationError, did_you_mean

TABLE = "tool.stratakit.tiers"
Scope = Literal["repository", "package", "service"]
"""Scope of a session: the whole repository, each service and library with tests, each service."""


@dataclass(frozen=True, slots=True)
class Resource:
    """External dependency that a tier needs to run."""

    name: str
    description: str


@dataclass(frozen=True, slots=True)
class Tier:
    """A group of checks, run by `nox -s NAME`.

    `paths` are the folders with its tests, relative to a package, or to the repository in that
    scope. Budgets are in seconds, for the whole tier and for one test; a test that takes longer
    than `timeout` seconds is stopped.
    """

    name: str
    checks: str
    scope: Scope = "repository"
    paths: tuple[str, ...] = ()
    needs: tuple[Resource, ...] = ()
    default: bool = False
    parallel: bool = False
    budget: float | None = None
    test_budget: float | None = None
    timeout: float | None = None
    module: str | None = None
    """Module to run with `python -m` instead of pytest. Not a key of project tables."""
    ending: float = 10
    """Seconds for cleanup after an interrupt. Not a key of project tables either."""
    group: str | None = None
    """Dependency group of a service to install besides `test`, in a separate environment."""

    @property
    def tags(self) -> tuple[str, ...]:
        """Tags for `nox -t`: whether it runs by default, and the resources that it needs."""
        return ("default" if self.default else "slow", *(each.name for each in self.needs))

    @property
    def takes_servers(self) -> bool:
        """Whether its tests get their own database or Redis."""
        return not self.module and self.requires("postgres", "redis")

    def requires(self, *resources: str) -> bool:
        """Return whether the tier needs one of these resources."""
        return any(each.name in resources for each in self.needs)

    def found(self, home: Path) -> list[Path]:
        """Return the folders below `home` that have tests of the tier."""
        return [home / path for path in self.paths if _holds_files(home / path)]


@dataclass(frozen=True, slots=True)
class Marker:
    """Pytest marker that selects tests of a tier by `-m NAME`.

    The tests are in the folder NAME of the tier's first folder, or in a file test_NAME*.py. The
    budget is for one test, in seconds.
    """

    name: str
    checks: str
    test_budget: float
    tier: str = "integration"


UNIT, INTEGRATION = "unit", "integration"
"""Tiers that the session `coverage` measures; sockets are blocked in `unit`."""
INFRASTRUCTURE = "infrastructure"
"""Tier whose parts may be absent, unless `[tool.stratakit.infrastructure]` requires them."""
CLOUD = "cloud"
"""Tier that rents machines."""
COVERAGE = Tier(
    name="coverage",
    checks="how many of the lines unit and integration run together",
    module="stratakit.coverage",
)
"""Session that checks the coverage of those two tiers; not a tier itself."""
FLAKES = Tier(
    name="flakes",
    checks="which tests pass and fail by chance, round after round",
)
"""Session that runs the test tiers repeatedly; not a tier either."""

_OWN: dict[str, Any] = tomllib.loads(
    Path(__file__).with_name("tiers.toml").read_text(encoding="utf-8")
)
RESOURCES = {name: Resource(name, said) for name, said in _OWN["resources"].items()}
MARKERS = tuple(Marker(name, **table) for name, table in _OWN["markers"].items())

_TAKEN = (
    *(COVERAGE.name, FLAKES.name),
    # Markers of pytest and its plugins.
    *("asyncio", "filterwarnings", "parametrize", "skip", "skipif", "timeout", "usefixtures"),
    *(
        "xfail",
        "enable_socket",
        "disable_socket",
        "allow_hosts",
        "no_cover",
        "xdist_group",
        "quarantine",
    ),
)
"""Reserved names."""


@cache
def load() -> tuple[Tier, ...]:
    """Return the effective tiers: the engine's, then the project's own.

    Raises:
        ConfigurationError: pyproject.toml is not readable, or a tier in it is invalid.
    """
    tables = pyproject.table().get("tiers", {})
    if not isinstance(tables, dict):
        raise ConfigurationError(
            f"tiers in [tool.stratakit] of pyproject.toml is {tables!r}, not a table of tiers",
            f"write, for example: [{TABLE}.unit] budget = 60",
        )
    own = _OWN["tiers"]
    return tuple(_tier(name, own.get(name, {}), tables.get(name, {})) for name in {**own, **tables})


def defaults() -> tuple[Tier, ...]:
    """Return the engine's tiers without a project's overrides."""
    return tuple(_tier(name, table, {}) for name, table in _OWN["tiers"].items())


def measured() -> tuple[Tier, ...]:
    """Return the tiers whose coverage is measured."""
    return tier(UNIT), tier(INTEGRATION)


def sessions() -> tuple[Tier, ...]:
    """Return the sessions of nox: the tiers, coverage and flakes."""
    return *load(), COVERAGE, FLAKES


def tier(name: str) -> Tier:
    """Return the tier called `name`.

    Raises:
        ConfigurationError: there is none.
    """
    return named("tier", name, load())


def markers_of(tier: Tier, nodeid: str) -> list[Marker]:
    """Return the markers of a test, by its path: tests/integration/smoke/ or test_smoke.py."""
    inside = nodeid.partition("::")[0].partition(f"{tier.paths[0]}/")[2]
    *folders, file = inside.split("/")
    return [
        each
        for each in MARKERS
        if each.tier == tier.name and (each.name in folders or file.startswith(f"test_{each.name}"))
    ]


def budget_of(tier: Tier, nodeid: str) -> float | None:
    """Return the budget of a test in seconds: the largest of its tier's and its markers'."""
    if tier.test_budget is None:
        return None
    return max([tier.test_budget, *(each.test_budget for each in markers_of(tier, nodeid))])


class _Named(Protocol):
    @property
    def name(self) -> str: ...


T = TypeVar("T", bound=_Named)


def named(kind: str, name: str, there: Sequence[T]) -> T:
    """Return the one of `there` that is called `name`.

    Raises:
        ConfigurationError: there is none.
    """
    for candidate in there:
        if candidate.name == name:
            return candidate
    known = [candidate.name for candidate in there]
    raise ConfigurationError(
        f"there is no {kind} {name!r}; there are: {', '.join(known) or 'none'}",
        did_you_mean(name, known, "uv run invoke graph"),
    )


def _tier(name: str, own: dict[str, Any], table: Any) -> Tier:
    """Return a tier: the engine's with the overrides of the project's table, or a new one.

    Raises:
        ConfigurationError: the table is invalid.
    """
    where = f"[{TABLE}.{name}] of pyproject.toml"
    if not isinstance(table, dict):
        raise ConfigurationError(
            f"{name} in [{TABLE}] of pyproject.toml is {table!r}, not a table",
            f"write, for example: [{TABLE}.{name}] budget = 60",
        )
    pyproject.refuse_unknown(table, _KEYS, where)
    for key, value in table.items():
        if not _KEYS[key].fits(value):
            raise ConfigurationError(
                f"{key} = {_written(value)} in {where} is not {_KEYS[key].what}",
                f"write, for example: {key} = {_KEYS[key].example}{_meant(key, value)}",
            )
    if own:
        _refuse_tests(name, own, table, where)
    else:
        _refuse_incomplete(name, table, where)
    values: dict[str, Any] = {**own, **table}
    values |= {key: values[key] or None for key in _SECONDS if key in values}
    values["paths"] = tuple(values.get("paths", ()))
    values["needs"] = tuple(RESOURCES[each] for each in values.get("needs", ()))
    return Tier(name, **values)


def _refuse_tests(name: str, own: dict[str, Any], table: dict[str, Any], where: str) -> None:
    """Refuse tests for a tier that runs the engine's own checks, and a test tier without tests."""
    for key in ("paths", "scope") if "module" in own else ():
        if key in table:
            why = f"its tests are in {own['paths'][0]}/" if "paths" in own else "it has no tests"
            raise ConfigurationError(
                f"{where} has the key {key}, and {name} makes the engine's checks: {why}",
                f"add a tier of your own, for example: {_EXAMPLE}",
            )
    if "paths" in own and not table.get("paths", own["paths"]):
        raise ConfigurationError(
            f"paths = [] in {where} leaves {name} without tests",
            f"write, for example: paths = {_written(own['paths'])}",
        )


def _refuse_incomplete(name: str, table: dict[str, Any], where: str) -> None:
    """Refuse a tier of the project's own with an invalid name or a missing key."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or name in _TAKEN:
        raise ConfigurationError(
            f"{where}: no tier can be called {name!r}: it becomes a session and a marker",
            "use lower-case letters, digits and _, and no name of nox or pytest, for example:"
            f" {_EXAMPLE}",
        )
    for key in ("checks", "paths"):
        if not table.get(key):
            raise ConfigurationError(
                f"{where} lacks {key}, which a tier of your own needs",
                did_you_mean(name, _OWN["tiers"], f"for example: {_EXAMPLE}"),
            )


_EXAMPLE = f'[{TABLE}.e2e] checks = "a user\'s whole way", paths = ["tests/e2e"], needs = ["stack"]'


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value.isprintable() and bool(value.strip())


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def _is_seconds(value: Any) -> bool:
    return isinstance(value, int | float) and not _is_flag(value) and 0 <= value < inf


def _are_folders(value: Any) -> bool:
    """Return whether a value is a list of normalized relative paths that stay inside a package."""
    return isinstance(value, list) and all(
        isinstance(each, str)
        and each == str(PurePosixPath(each))
        and not {"..", "/", "."} & set(PurePosixPath(each).parts or ".")
        and "\\" not in each
        for each in value
    )


class _Key(NamedTuple):
    fits: Callable[[Any], bool]
    what: str
    example: str
    known: tuple[str, ...] = ()
    """Allowed values, if there is a fixed set."""


_SCOPES = get_args(Scope)
_FLAG = _Key(_is_flag, "true or false", "true")
_SECONDS = ("budget", "test_budget", "timeout")
_KEYS = {
    "checks": _Key(_is_text, "one line of text", '"a user\'s whole way"'),
    "scope": _Key(
        lambda value: value in _SCOPES, f"one of {', '.join(_SCOPES)}", '"service"', _SCOPES
    ),
    "paths": _Key(_are_folders, "a list of folders below the project or package", '["tests/e2e"]'),
    "needs": _Key(
        lambda value: isinstance(value, list) and all(each in [*RESOURCES] for each in value),
        f"a list of {', '.join(RESOURCES)}",
        '["stack"]',
        tuple(RESOURCES),
    ),
    "default": _FLAG,
    "parallel": _FLAG,
    **dict.fromkeys(_SECONDS, _Key(_is_seconds, "a number of seconds, or 0 for none", "60")),
}
"""Keys of `[tool.stratakit.tiers.NAME]`."""


def _meant(key: str, value: Any) -> str:
    """Return a suggestion for a misspelt value; empty without a similar one."""
    values = value if isinstance(value, list) else [value]
    wrong = [each for each in values if isinstance(each, str) and each not in _KEYS[key].known]
    said = " ".join(filter(None, (did_you_mean(each, _KEYS[key].known) for each in wrong)))
    return f"; {said}" if said else ""


def _written(value: Any) -> str:
    """Return a value in roughly TOML's spelling, so that it can be found in the file."""
    return str(value).lower() if isinstance(value, bool) else repr(value).replace("'", '"')


def _holds_files(folder: Path) -> bool:
    """Return whether a folder has files other than hidden ones and caches of removed tests."""
    for _, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [each for each in folders if each != "__pycache__" and each[0] != "."]
        if any(name[0] != "." for name in names):
            return True
    return False
