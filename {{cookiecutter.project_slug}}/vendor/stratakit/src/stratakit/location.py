"""Where the project is, whichever way leads there, and that no other one is meant.

Standard library only: the doctor looks at it, and pytest's plugin.
"""

import os
import sys
from functools import cache
from pathlib import Path

from .environment import REINSTALL
from .errors import ConfigurationError
from .pyproject import ROOT, names_project


def relative(path: Path) -> Path | None:
    """Return `path` relative to the project, and None for one that is elsewhere.

    The folder of the project may be written in another way than ours: through a link, as editors
    write it and macOS writes /tmp, or in letters of another case where the disk does not care.
    """
    # Not resolved: a folder of tests may be a link in the project, and belongs where the link is.
    path = Path(os.path.abspath(path))  # noqa: PTH100 - `absolute` leaves `..` in it
    return next((path.relative_to(each) for each in (path, *path.parents) if _is_root(each)), None)


def require(folder: Path) -> None:
    """Refuse to act in a folder of another project than the one whose code this is.

    A copy has an environment that installs the original; what acts by it would act on that one.

    Raises:
        ConfigurationError: it is of another, such as a copy of it.
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
