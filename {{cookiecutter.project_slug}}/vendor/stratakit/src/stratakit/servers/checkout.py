"""Which checkout of the project this is: the first of this user on this machine, or another one.

What people keep is the checkout's own: names of databases, folders and the Compose project carry
its mark. The first clone has none. A linked worktree always has one; so has a second clone for as
long as the first is where it was.
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
    """Return the name of something that each checkout has of its own."""
    return f"{name}-{mark()}" if mark() else name


@cache
def mark() -> str:
    """Return the mark of this checkout, six hexadecimal digits; an empty one for the first."""
    own = hashlib.sha256(os.fsencode(ROOT)).hexdigest()[:6]
    if is_linked(ROOT):
        return own
    try:
        folder = home.made(home.data() / "checkouts", 0o700)
        return _noted(folder, own)
    except (InfrastructureError, OSError):
        # Where nothing can be noted, no server of ours keeps anything either.
        return ""


def _noted(folder: Path, own: str) -> str:
    """Return the mark that is noted for this checkout, noted now if it was not."""
    if (folder / own).exists():
        return own
    first = folder / FIRST
    if not _holds(first):
        # In one step: of two that begin at once, one comes first.
        scratch = folder / f".{own}.{os.getpid()}"
        scratch.write_bytes(os.fsencode(ROOT))
        if first.exists():
            # The first has gone, or was moved to where we are.
            scratch.replace(first)
        else:
            with suppress(FileExistsError):
                os.link(scratch, first)
            scratch.unlink()
    if _path(first) == ROOT:
        return ""
    (folder / own).write_bytes(os.fsencode(ROOT))
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
    """Return whether the checkout that a file names is still there."""
    return file.exists() and _path(file).exists()
