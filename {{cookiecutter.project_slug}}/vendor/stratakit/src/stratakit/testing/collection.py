"""Selection of a run's tests: the requested ones of this package, marked with tier and kind.

nox passes the same arguments after `--` to the session of every package. Pytest's own parser
decides which of them are paths.
"""

import inspect
from argparse import Namespace
from collections.abc import Generator, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from .. import discovery, location, project, runner, tiers
from ..errors import ConfigurationError, did_you_mean
from ..pyproject import ROOT
from .fixtures import NO_LEAKED_TASKS
from .results import RESULTS

PACKAGES = ("services", "libs")
"""Folders of packages; each package has its own environment, which runs only its own tests."""
TIER = pytest.StashKey[tiers.Tier]()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Generator[None]:
    """Skip the conftest.py of other packages: their imports are not installed here."""
    known = early_config.known_args_namespace
    # `pytest_configure` reports a missing path, once all options are known.
    with suppress(ConfigurationError):
        known.file_or_dir = _own(early_config, known, known.file_or_dir)
    return (yield)


def _own(config: pytest.Config, options: Namespace, words: Sequence[str]) -> list[str]:
    """Return the command line's paths that belong to this package.

    Raises:
        ConfigurationError: a path does not exist.
    """
    if options.home is None or options.pyargs:
        return [*words]
    return choose(words, ROOT / options.home, config.getini("testpaths"))


def select(config: pytest.Config) -> bool:
    """Select the tests of this package; return whether only other packages were requested.

    Raises:
        ConfigurationError: a path does not exist.
    """
    asked = config.args
    if config.args_source is config.ArgsSource.ARGS:
        config.args = _own(config, config.option, asked)
    elif config.getoption("--home"):
        # With `--rootdir` or `-c`, pytest itself ignores testpaths.
        config.args = config.getini("testpaths")
    return bool(asked) and not config.args


def choose(words: Sequence[str], home: Path, folders: Sequence[str]) -> list[str]:
    """Return the test paths in `words` that belong to the package in `home`.

    A parent folder of the package selects the tests of its tier.

    Args:
        words: paths, optionally with `::` and the names of a class and a test.
        home: folder of the package, or of the project for a project-wide tier.
        folders: folders with the tests of the package's tier.

    Raises:
        ConfigurationError: a path does not exist.
    """
    chosen: list[str] = []
    for word in words:
        # Pytest splits its arguments the same way.
        name = word.partition("[")[0].partition("::")[0]
        path = runner.find(name)
        if not path:
            meant = did_you_mean(name, _tests())
            raise ConfigurationError(
                f"there is no file or folder {name}",
                meant or "give a path relative to this folder, or to the project",
            )
        if path in home.parents or path == home == ROOT:
            chosen += folders
        elif _package(path) in (None, home):
            inside = path.is_relative_to(ROOT)
            chosen.append(f"{path.relative_to(ROOT) if inside else path}{word[len(name) :]}")
    return chosen


def _package(path: Path) -> Path | None:
    """Return the folder of the package that contains a path, or None."""
    if not path.is_relative_to(ROOT):
        return None
    top, *rest = path.relative_to(ROOT).parts or ("",)
    return ROOT / top / rest[0] if top in PACKAGES and rest else None


def _tests() -> Iterator[str]:
    for pattern in (*(f"{each}/*/tests/**/*" for each in PACKAGES), "tests/**/*"):
        for path in ROOT.glob(pattern):
            if path.is_dir() or path.match("test_*.py"):
                yield path.relative_to(ROOT).as_posix()


def below_root(config: pytest.Config, arg: str) -> str:
    """Return a test argument as a path below pytest's root; otherwise test ids lack the folders."""
    name, colons, rest = arg.partition("::")
    path = config.invocation_params.dir / name
    found = location.relative(path) if path.exists() else None
    if found is None or path.is_relative_to(config.rootpath):
        return arg
    ours = location.relative(config.rootpath) == Path()
    return f"{config.rootpath / found}{colons}{rest}" if ours else arg


def named(config: pytest.Config) -> list[project.Package]:
    """Return the packages whose folders or files are on the command line."""
    given = (config.invocation_params.dir / arg.partition("::")[0] for arg in config.args)
    paths = [location.relative(path) for path in given]
    return [
        each
        for each in project.packages()
        if any(path and path.is_relative_to(each.path.relative_to(ROOT)) for path in paths)
    ]


class Stray(pytest.File):
    """Test file outside every tier: it is not imported, and holds a single test that errors."""

    def __repr__(self) -> str:
        """Return the error message: pytest prints it if a test of the file is requested."""
        return f"<{self.path.name}: {discovery.refusal([self.path])}>"

    def collect(self) -> Iterator[pytest.Item]:
        """Yield the single test that errors."""
        yield Refused.from_parent(self, name="belongs to no tier")


class Refused(pytest.Item):
    """Test that errors during setup, since it has no tier."""

    def runtest(self) -> None:
        """Do nothing: setup always errors first."""


def pytest_pycollect_makemodule(
    module_path: Path, parent: pytest.Collector
) -> pytest.Collector | None:
    """Report a test file that no tier runs, without failing the other files."""
    if not discovery.is_stray(module_path):
        return None
    stray: Stray = Stray.from_parent(parent, path=module_path)
    return stray


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark each test with its tier and kind, by its path; keep those of the requested tier."""
    for item in items:
        tier = tier_of(item)
        if tier is None:
            continue
        item.stash[TIER] = tier
        if not item.get_closest_marker(tier.name):
            item.add_marker(tier.name)
        for marker in tiers.markers_of(tier, item.nodeid):
            item.add_marker(marker.name)
        if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
            item.fixturenames.insert(0, NO_LEAKED_TASKS)
        if tier.timeout and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(tier.timeout))
    wanted = config.getoption("--tier")
    if wanted:
        asked = tiers.tier(wanted)
        # Refused tests have no tier; keep them, so that they are reported.
        others = [item for item in items if item.stash.get(TIER, asked).name != wanted]
        items[:] = [item for item in items if item.stash.get(TIER, asked).name == wanted]
        config.hook.pytest_deselected(items=others)
        if others and not items and RESULTS in config.stash:
            there = " and ".join(sorted({item.stash[TIER].name for item in others}))
            config.stash[RESULTS].elsewhere = f"no test was selected: found only tests of {there}"


def tier_of(item: pytest.Item) -> tiers.Tier | None:
    """Return the tier of a test, which is that of its folder; None if the folder has no tier.

    A folder shared by several tiers holds contract suites, which run against a fake and against
    the real thing: there a tier's marker decides, and without one it is the folder's first tier.
    """
    there = discovery.tiers_of(item.path)
    marked = (tier for tier in there if item.get_closest_marker(tier.name))
    return next(marked, there[0] if there else None)
