"""The code that has to be covered: services/*/src and libs/*/src. ops is not the project's own.

Standard library only, since noxfile.py imports it.
"""

from collections.abc import Sequence
from pathlib import Path

from ..graph import ROOT, Service, services


def packages(chosen: Sequence[Service]) -> dict[str, tuple[str, ...]]:
    """Return the Python files of each of these services, by the folder of the package.

    Libraries are in it if those are all services: what one service runs of a library says little.
    """
    folders = [service.path for service in chosen]
    if set(chosen) == set(services()):
        folders += sorted(path.parent for path in ROOT.glob("libs/*/src"))
    return {folder.relative_to(ROOT).as_posix(): _files(folder) for folder in folders}


def _files(package: Path) -> tuple[str, ...]:
    found = sorted((package / "src").rglob("*.py"))
    return tuple(file.relative_to(ROOT).as_posix() for file in found)
