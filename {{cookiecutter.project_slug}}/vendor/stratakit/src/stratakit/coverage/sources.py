"""The code that has to be covered: services/*/src and libs/*/src.

Standard library only, since noxfile.py imports it.
"""

from collections.abc import Sequence
from pathlib import Path

from .. import project
from ..pyproject import ROOT


def packages(chosen: Sequence[project.Package]) -> dict[str, tuple[str, ...]]:
    """Return the Python files of each of these packages, by its folder.

    Libraries without tests are in it if those are all that have some: what one service runs of a
    library says little.
    """
    folders = [package.path for package in chosen]
    if set(chosen) == set(project.packages()):
        folders += sorted({path.parent for path in ROOT.glob("libs/*/src")} - {*folders})
    return {folder.relative_to(ROOT).as_posix(): _files(folder) for folder in folders}


def _files(package: Path) -> tuple[str, ...]:
    found = sorted((package / "src").rglob("*.py"))
    return tuple(file.relative_to(ROOT).as_posix() for file in found)
