"""Location of the project, through links as well, and a guard against acting on another one.

Standard library only: the doctor and the pytest plugin use it.
"""

import os
import sys
from functools import cache
from pathlib import Path

from .environment import REINSTALL
from .errors import ConfigurationError
from .pyproject import ROOT, names_project


def relative(path: Path) -> Path | None:
    """Return `path` relative to the project, or None if it is outside.

    The spelling of the project's folder may differ from ours: through a link, as from editors and
    for /tmp on macOS, or in another case on a case-insensitive disk.
    """
    # Not resolved: a folder of tests that is a link belongs where the link is.
    path = Path(os.path.abspath(path))  # noqa: PTH100 - `absolute` leaves `..` in it
    return next((path.relative_to(each) for each in (path, *path.parents) if _is_root(each)), None)


def require(folder: Path) -> None:
    """Refuse to act in the folder of another project than the one this code belongs to.

    The environment of a copied project has the original installed, so actions would change that.

    Raises:
        ConfigurationError: the folder is in another project, such as a copy.
    """
    folder = folder.absolute()
    project = next((each for each in (folder, *folder.parents) if names_project(each)), None)
    if project and not _is_root(project):
        raise ConfigurationError(
            f"this project is in {project}, and {sys.executable} would work on the one in {ROOT}:"
            " its environment was copied with the folder, or that of another one is active",
            f"in {project}: {REINSTALL}; and start it with `uv run`",
        )


@cache
def _is_root(folder: Path) -> bool:
    try:
        return folder.samefile(ROOT)
    except OSError:
        return False
