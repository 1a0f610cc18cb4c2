"""Which tests a run has: those that were named, of this package, each with its tier and kind.

nox hands the same words after `--` to the session of every package. What among them is a path,
pytest's own parser says.
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
"""Folders whose folders have environments of their own, in which nobody else's tests can run."""
TIER = pytest.StashKey[tiers.Tier]()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Generator[None]:
    """Leave the conftest.py of other packages alone: what they import is not installed here."""
    known = early_config.known_args_namespace
    # A path that does not exist is refused once all options are known.
    with suppress(ConfigurationError):
        known.file_or_dir = _own(early_config, known, known.file_or_dir)
    return (yield)


def _own(config: pytest.Config, options: Namespace, words: Sequence[str]) -> list[str]:
    """Return those of the paths on the command line that are for this package.

    Raises:
        ConfigurationError: a path does not exist.
    """
    if options.home is None or options.pyargs:
        return [*words]
    return choose(words, ROOT / options.home, config.getini("testpaths"))


def select(config: pytest.Config) -> bool:
    """Keep to the tests of this package; return whether others alone were asked for.

    Raises:
        ConfigurationError: a path does not exist.
    """
    asked = config.args
    if config.args_source is config.ArgsSource.ARGS:
        config.args = _own(config, config.option, asked)
    elif config.getoption("--home"):
        # Even where `--rootdir` or `-c` keep pytest from it.
        config.args = config.getini("testpaths")
    return bool(asked) and not config.args


def choose(words: Sequence[str], home: Path, folders: Sequence[str]) -> list[str]:
    """Return those of `words`, which name tests, that are for the package in `home`.

    A folder that holds the package among others stands for the tests of its tier.

    Args:
        words: paths, each perhaps with the names of a class and a test.
        home: the folder of the package, or of the project for a tier of all of it.
        folders: where the tests of the package's tier are.

    Raises:
        ConfigurationError: a path does not exist.
    """
    chosen: list[str] = []
    for word in words:
        # As pytest takes them apart.
        name = word.partition("[")[0].partition("::")[0]
        path = runner.find(name)
        if not path:
            meant = did_you_mean(name, _tests())
            raise ConfigurationError(
                f"there is no file or folder {name}",
                meant or "name one as it is seen from here, or from the project",
            )
        if path in home.parents or path == home == ROOT:
            chosen += folders
        elif _package(path) in (None, home):
            inside = path.is_relative_to(ROOT)
            chosen.append(f"{path.relative_to(ROOT) if inside else path}{word[len(name) :]}")
    return chosen


def _package(path: Path) -> Path | None:
    """Return the folder of the package that a path is in, or None if it is in none."""
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
    """Return what names tests as a path below pytest's root; else their ids lack the folders."""
    name, colons, rest = arg.partition("::")
    path = config.invocation_params.dir / name
    found = location.relative(path) if path.exists() else None
    if found is None or path.is_relative_to(config.rootpath):
        return arg
    ours = location.relative(config.rootpath) == Path()
    return f"{config.rootpath / found}{colons}{rest}" if ours else arg


def named(config: pytest.Config) -> list[project.Package]:
    """Return the packages that the command line names by their folders or files."""
    given = (config.invocation_params.dir / arg.partition("::")[0] for arg in config.args)
    paths = [location.relative(path) for path in given]
    return [
        each
        for each in project.packages()
        if any(path and path.is_relative_to(each.path.relative_to(ROOT)) for path in paths)
    ]


class Stray(pytest.File):
    """A file of tests that no tier runs: not imported, it holds one test, which is refused."""

    def __repr__(self) -> str:
        """Describe what is wrong with it: pytest prints this where its tests were asked for."""
        return f"<{self.path.name}: {discovery.refusal([self.path])}>"

    def collect(self) -> Iterator[pytest.Item]:
        """Yield what is refused."""
        yield Refused.from_parent(self, name="belongs to no tier")


class Refused(pytest.Item):
    """The test that is refused when it is set up, since it has no tier."""

    def runtest(self) -> None:
        """Never come here."""


def pytest_pycollect_makemodule(
    module_path: Path, parent: pytest.Collector
) -> pytest.Collector | None:
    """Refuse a file of tests that no tier runs, and that file alone."""
    if not discovery.is_stray(module_path):
        return None
    stray: Stray = Stray.from_parent(parent, path=module_path)
    return stray


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark each test with its tier and kind, by where it is; keep the tier that was asked for."""
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
        # What is refused is kept: it is of no other tier.
        others = [item for item in items if item.stash.get(TIER, asked).name != wanted]
        items[:] = [item for item in items if item.stash.get(TIER, asked).name == wanted]
        config.hook.pytest_deselected(items=others)
        if others and not items and RESULTS in config.stash:
            there = " and ".join(sorted({item.stash[TIER].name for item in others}))
            config.stash[RESULTS].elsewhere = f"no test was selected: what is there is of {there}"


def tier_of(item: pytest.Item) -> tiers.Tier | None:
    """Return the tier of a test: that of its folder; None where that is no tier's.

    A folder that several tiers share holds contract suites, which run against a fake and against
    the real thing: there the marker of the latter's tier decides, and no marker means the first.
    """
    there = discovery.tiers_of(item.path)
    marked = (tier for tier in there if item.get_closest_marker(tier.name))
    return next(marked, there[0] if there else None)
