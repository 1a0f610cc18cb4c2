"""What is noted of a stack that is up: one for each checkout of a project."""

import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .. import limits
from ..results import write
from ..servers import Source, checkout
from ..servers.home import cache, made, place


def save(source: Source) -> None:
    """Note that the stack is up, on servers of this source."""
    folder()
    write(file(), json.dumps({"source": source}))


def load() -> Source | None:
    """Return which servers the stack is up on; None where it is not up."""
    try:
        source: Source = json.loads(file().read_text(encoding="utf-8"))["source"]
    except (FileNotFoundError, KeyError, TypeError, ValueError):
        return None
    return source


def forget() -> None:
    """Note that the stack is not up."""
    file().unlink(missing_ok=True)


def folder() -> Path:
    """Return the folder for what the stack leaves on this machine: logs, notes on processes."""
    return made(cache() / checkout.named("stack"), 0o700)


def use(source: Source) -> None:
    """Note that something may have been stored on the servers of a source."""
    _used(folder(), source).touch()


def used(source: Source) -> bool:
    """Return whether something may be stored on the servers of a source, to be cleaned."""
    return _used(_path(), source).exists()


def _used(home: Path, source: Source) -> Path:
    # With a dot, which no service has in its name: their folders are beside it.
    return home / f"{source}.used"


def remove() -> None:
    """Remove the folder and everything in it."""
    shutil.rmtree(_path(), ignore_errors=True)


@contextmanager
def lock() -> Iterator[None]:
    """Wait until no other action changes the stack, and keep others from it for the block."""
    # Beside the folder, which `remove` takes away under the lock. Whoever has it may be building.
    with _locked(checkout.named("stack"), "changes the stack"):
        yield


@contextmanager
def starting() -> Iterator[None]:
    """Wait until no other checkout starts services, which would find the same ports free."""
    with _locked("stack-ports", "starts services of the project"):
        yield


@contextmanager
def _locked(name: str, what: str) -> Iterator[None]:
    if sys.platform == "win32":
        # There is no flock; two actions at once may meet.
        yield
        return
    from ..servers.waiting import locked

    waits = f"waiting for another action that {what}\n"
    with locked(cache() / f"{name}.lock", what, limits.DOWNLOAD, waits=waits):
        yield


def file() -> Path:
    """Return the file of the note."""
    return _path() / "record.json"


def _path() -> Path:
    return place() / checkout.named("stack")
