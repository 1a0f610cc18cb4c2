"""Which of the tests that a person names after `--` are those of this session.

nox hands the same words to the session of every package. What among them is a path, pytest's own
parser says.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from .. import runner
from ..errors import ConfigurationError, did_you_mean
from ..pyproject import ROOT

PACKAGES = ("services", "libs")
"""Folders whose folders have environments of their own, in which nobody else's tests can run."""


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
