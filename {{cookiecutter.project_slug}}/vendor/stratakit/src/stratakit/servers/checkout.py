"""Identity of this checkout: the user's first one on this machine, or another.

Persistent data is separate for each checkout: names of databases, folders and the Compose project
carry its mark. The first clone has no mark. A linked worktree always has one; a second clone has
one as long as the first still exists at its path.
"""

import hashlib
import os
from contextlib import suppress
from functools import cache
from pathlib import Path

from ..errors import InfrastructureError
from ..pyproject import ROOT
from . import home

FIRST = "first"


def named(name: str) -> str:
    """Return a name with this checkout's mark, for things that are separate for each checkout."""
    return f"{name}-{mark()}" if mark() else name


@cache
def mark() -> str:
    """Return the mark of this checkout: six hexadecimal digits, empty for the first."""
    own = hashlib.sha256(os.fsencode(ROOT)).hexdigest()[:6]
    if is_linked(ROOT):
        return own
    try:
        folder = home.made(home.data() / "checkouts", 0o700)
        return _noted(folder, own)
    except (InfrastructureError, OSError):
        # If marks cannot be stored here, our servers cannot store data either.
        return ""


def _noted(folder: Path, own: str) -> str:
    """Return the stored mark of this checkout, storing one first if it is missing."""
    if (folder / own).exists():
        return own
    first = folder / FIRST
    if not _holds(first):
        # Atomic: if two checkouts race, exactly one becomes the first.
        scratch = folder / f".{own}.{os.getpid()}"
        try:
            scratch.write_bytes(os.fsencode(ROOT))
            if first.exists():
                # The first checkout was deleted, or moved to this path; or the file is damaged.
                scratch.replace(first)
            else:
                with suppress(FileExistsError):
                    os.link(scratch, first)
        finally:
            scratch.unlink(missing_ok=True)
    if _path(first) == ROOT:
        return ""
    # Its name says it all, so that nothing of it can be lost.
    (folder / own).touch()
    return own


def is_linked(folder: Path) -> bool:
    """Return whether a folder is in a linked worktree of git."""
    for each in (folder, *folder.parents):
        file = each / ".git"
        if file.is_file():
            text = file.read_text(encoding="utf-8", errors="replace")
            return Path(text.partition(":")[2].strip()).parent.name == "worktrees"
        if file.exists():
            return False
    return False


def _path(file: Path) -> Path:
    return Path(os.fsdecode(file.read_bytes()))


def _holds(file: Path) -> bool:
    """Return whether the checkout named in a file still exists; an empty file names none."""
    return file.exists() and _path(file).is_absolute() and _path(file).exists()
