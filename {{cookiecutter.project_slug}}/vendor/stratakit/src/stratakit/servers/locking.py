"""Locks on files, which the kernel takes back from whoever dies; none is waited for without end."""

import fcntl
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .. import limits
from ..errors import InfrastructureError
from .waiting import until


@contextmanager
def locked(file: Path, what: str, limit: float | None = None, *, waits: str = "") -> Iterator[int]:
    """Hold the lock on a file for the length of the block; yield the file's handle.

    Args:
        file: where the lock is; it is made if it is not there.
        what: what somebody does who holds it, for the message.
        limit: seconds to wait for it, by default what it takes to start a server from nothing.
        waits: what a person is told who has to wait.

    Raises:
        InfrastructureError: somebody holds it for longer than that.
    """
    handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        take(handle, fcntl.LOCK_EX, limit or limits.START, lambda: _holder(file, what), waits)
        # For the message of others alone; the disk may be full.
        with suppress(OSError):
            os.truncate(handle, 0)
            os.pwrite(handle, f"{os.getpid()}".encode(), 0)
        yield handle
    finally:
        os.close(handle)


def take(
    handle: int, how: int, limit: float, holder: Callable[[], tuple[str, str]], waits: str = ""
) -> None:
    """Take a lock, in one of the ways of flock.

    Args:
        handle: the file's.
        how: `LOCK_EX` or `LOCK_SH`.
        limit: seconds to wait for it.
        holder: returns who is in the way, and what helps.
        waits: what a person is told who has to wait.

    Raises:
        InfrastructureError: somebody holds it for longer than that.
    """

    def attempt() -> None:
        try:
            fcntl.flock(handle, how | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise _HeldError from error

    try:
        if waits:
            with suppress(_HeldError):
                attempt()
                return
            sys.stderr.write(waits)
        until(attempt, limit, unless=OSError)
    except TimeoutError as error:
        who, hint = holder()
        raise InfrastructureError(f"waited for {limit:g} s: {who}", hint) from error


class _HeldError(Exception):
    """Somebody else has the lock just now."""


def _holder(file: Path, what: str) -> tuple[str, str]:
    """Return who holds a lock, and how to end that."""
    number = file.read_text(encoding="ascii", errors="replace")
    if not number.isdecimal():
        return f"another process {what}, and does not end", f"see which it is: lsof {file}"
    return (
        f"the process {number} {what}, and does not end",
        f"see what it does: ps -fp {number}, lsof {file}; end it: kill {number}",
    )
