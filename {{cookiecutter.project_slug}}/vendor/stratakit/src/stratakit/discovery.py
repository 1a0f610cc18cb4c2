"""Which files pytest takes for tests, by its settings in pyproject.toml, and which tiers run each.

A test that no tier runs is refused, before the tests of the tier that was asked for run. What a
conftest.py keeps from pytest (`collect_ignore`) is not known here: see `norecursedirs`.
Standard library only, since noxfile.py imports it; the pytest plugin asks the same of a file.
"""

import glob
import os
from collections.abc import Collection, Iterator, Sequence
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

from . import location
from .errors import ConfigurationError
from .graph import ROOT, TIERS, Library, Package, Scope, Service, Tier, packages, pytest_settings

SHOWN = 10
"""Files that a message names before it says how many more there are."""
DEFAULTS: dict[str, str | list[str]] = {
    "testpaths": ["."],
    "python_files": ["test_*.py", "*_test.py"],
    "norecursedirs": "*.egg .* _darcs build CVS dist node_modules venv {arch}",
}
"""What pytest goes by where pyproject.toml says nothing."""

REPOSITORY: tuple[Scope, ...] = ("repository",)

_KINDS: dict[str, type[Package]] = {"services": Service, "libs": Library}


def folders(tier: Tier, package: Package | None) -> list[Path]:
    """Return the folders that hold the tests of a tier, none for a tier that has no tests.

    Raises:
        ConfigurationError: there is a test nearby that no tier runs.
        AbsentError: the tier has tests elsewhere, but none here.
    """
    if tier.paths:
        refuse_strays([package] if package else [])
    return tier.folders(package)


def refuse_strays(chosen: Collection[Package]) -> None:
    """Refuse tests of these packages, and tests of no package, that no tier runs.

    Raises:
        ConfigurationError: there are some.
    """
    others = frozenset(each.path for each in packages() if each not in chosen)
    found = [file for file in test_files(others) if not tiers_of(file)]
    if found:
        raise refusal(found)


@cache
def tiers_of(file: Path) -> tuple[Tier, ...]:
    """Return the tiers that run the tests in a file."""
    file = ROOT / (location.relative(file) or file)
    package = owner(file)
    home, scopes = (package.path, package.scopes) if package else (ROOT, REPOSITORY)
    return tuple(
        tier
        for tier in TIERS
        if tier.scope in scopes and any(file.is_relative_to(home / path) for path in tier.paths)
    )


def owner(file: Path) -> Package | None:
    """Return the service or library that a file is of."""
    return next((each for each in packages() if file.is_relative_to(each.path)), None)


def test_files(passed_over: frozenset[Path]) -> Iterator[Path]:
    """Yield the files that a bare pytest would take for tests, but for those in some folders."""
    settings = {**DEFAULTS, **pytest_settings()}
    testpaths, patterns, excluded = (_words(settings[name]) for name in DEFAULTS)
    tops = {
        ROOT / top
        for path in testpaths
        for top in glob.glob(path, root_dir=ROOT, recursive=True)  # noqa: PTH207 - `.` is allowed
    }
    for top in sorted(top for top in tops if passed_over.isdisjoint((top, *top.parents))):
        for folder, names, files in os.walk(top, followlinks=True):
            inner = [Path(folder, name) for name in names]
            names[:] = [
                path.name
                for path in inner
                if path not in passed_over and not _excluded(path, excluded)
            ]
            for file in (Path(folder, name) for name in sorted(files) if name.endswith(".py")):
                if _matches(file, patterns):
                    yield file


def refusal(files: Sequence[Path]) -> ConfigurationError:
    """Return what it means that no tier runs these files, of which there is at least one."""
    lines = [
        f"{_shown(file)} belongs to no tier, so nothing runs its tests" for file in files[:SHOWN]
    ]
    more = len(files) - SHOWN
    return ConfigurationError(
        "\n".join([*lines, *([f"and {more} more"] if more > 0 else [])]),
        "; ".join(dict.fromkeys(map(_hint, files))),
    )


def _hint(file: Path) -> str:
    top, *inner = _shown(file).split("/")
    kind = _KINDS.get(top) if len(inner) > 1 else None
    if kind is None:
        either = f"or, in a service or library, {_listed(Package.scopes)}"
        return f"move it to one of the folders {_listed(REPOSITORY)} {either}"
    home = f"{top}/{inner[0]}"
    if not (ROOT / home / "pyproject.toml").exists():
        return f"give {home} a pyproject.toml, without which it is no {kind.kind}: docs/testing.md"
    return f"move it to one of the folders {_listed(kind.scopes, f'{home}/')}"


def _shown(file: Path) -> str:
    return (location.relative(file) or file).as_posix()


def _listed(scopes: Collection[Scope], home: str = "") -> str:
    paths = [path for tier in TIERS if tier.scope in scopes for path in tier.paths]
    return ", ".join(dict.fromkeys(f"{home}{path}" for path in paths))


def _excluded(folder: Path, patterns: Sequence[str]) -> bool:
    unseen = folder.name == "__pycache__" or (folder / "pyvenv.cfg").exists()
    return unseen or _matches(folder, patterns)


def _matches(path: Path, patterns: Sequence[str]) -> bool:
    """Say whether pytest would take a path to match: by its name, or as a whole for `a/b`."""
    return any(
        fnmatch(str(path), f"*{os.sep}{pattern}") if "/" in pattern else fnmatch(path.name, pattern)
        for pattern in patterns
    )


def _words(value: str | list[str]) -> list[str]:
    return value.split() if isinstance(value, str) else value
