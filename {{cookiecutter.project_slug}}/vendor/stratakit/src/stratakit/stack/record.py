"""State files of a running stack, separate for each checkout of a project."""

import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import get_args

from .. import limits
from ..results import read, write
from ..servers import Source, checkout
from ..servers.home import cache, made, place

PROCESSES: tuple[Source, ...] = ("embedded", "url")
"""Sources where the services are processes, and a stack's data is single databases."""


def save(source: Source) -> None:
    """Record that the stack is up, on servers of this source."""
    folder()
    write(file(), json.dumps({"source": source}))


def load() -> Source | None:
    """Return the source of the servers that the stack is up on; None if it is not up."""
    source: Source | None = read(file(), source=str).get("source")
    return source if source in get_args(Source) else None


def sources() -> list[Source]:
    """Return the sources that services may be running on, even if the record is lost.

    Then there may be processes wherever there were some, but containers only if the record is
    damaged: without one, Docker need not be running.
    """
    if source := load():
        return [source]
    processes: list[Source] = [each for each in PROCESSES if used(each)][:1]
    return [*processes, *(("docker",) if file().exists() and used("docker") else ())]


def forget() -> None:
    """Record that the stack is not up."""
    file().unlink(missing_ok=True)


def folder() -> Path:
    """Return the folder for the stack's files on this machine: logs and process state."""
    return made(cache() / checkout.named("stack"), 0o700)


def use(source: Source) -> None:
    """Record that the servers of a source may hold data of the stack."""
    _used(folder(), source).touch()


def used(source: Source) -> bool:
    """Return whether the servers of a source may hold data of the stack, to be cleaned."""
    return _used(_path(), source).exists()


def _used(home: Path, source: Source) -> Path:
    # The dot avoids clashes with the services' folders: their names have none.
    return home / f"{source}.used"


def remove() -> None:
    """Remove the folder and everything in it."""
    shutil.rmtree(_path(), ignore_errors=True)


@contextmanager
def lock() -> Iterator[None]:
    """Hold the lock against other actions that change the stack, for the length of the block."""
    # Beside the folder, which `remove` deletes. The holder may be building images.
    with _locked(checkout.named("stack"), "changes the stack"):
        yield


@contextmanager
def starting() -> Iterator[None]:
    """Hold the lock against other checkouts, which would find the same ports free."""
    with _locked("stack-ports", "starts services of the project"):
        yield


@contextmanager
def _locked(name: str, what: str) -> Iterator[None]:
    if sys.platform == "win32":
        # There is no flock; concurrent actions are not prevented.
        yield
        return
    from ..servers.waiting import locked

    waits = f"waiting for another action that {what}\n"
    with locked(cache() / f"{name}.lock", what, limits.DOWNLOAD, waits=waits):
        yield


def file() -> Path:
    """Return the path of the state file."""
    return _path() / "record.json"


def _path() -> Path:
    return place() / checkout.named("stack")
