"""Waiting, never without end: for whatever has to come true, and for locks on files.

The kernel takes a lock back from whoever dies.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .. import limits
from ..errors import InfrastructureError


def until(
    attempt: Callable[[], object],
    timeout: float,
    *,
    unless: type[Exception] | tuple[type[Exception], ...] = (),
    interval: float = 0.005,
) -> None:
    """Call `attempt` until it raises nothing.

    Args:
        attempt: whatever fails as long as the thing is not ready.
        timeout: seconds after which to give up.
        unless: an error that means that it will never be ready; passed on at once.
        interval: seconds between two attempts.

    Raises:
        TimeoutError: it still failed; the message holds the last failure.
    """
    deadline = time.monotonic() + timeout
    while True:
        try:
            attempt()
        except unless:
            raise
        except Exception as error:
            if time.monotonic() > deadline:
                raise TimeoutError(f"not ready after {timeout:g} s: {error}") from error
            time.sleep(interval)  # Between two looks: nobody tells a client that a server is up.
        else:
            return


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
        take(handle, limit or limits.START, lambda: _holder(file, what), waits=waits)
        # For the message of others alone; the disk may be full.
        with suppress(OSError):
            os.truncate(handle, 0)
            os.pwrite(handle, f"{os.getpid()}".encode(), 0)
        yield handle
    finally:
        os.close(handle)


def take(
    handle: int,
    limit: float,
    holder: Callable[[], tuple[str, str]],
    *,
    shared: bool = False,
    waits: str = "",
) -> None:
    """Take the lock on an open file.

    Args:
        handle: the file's.
        limit: seconds to wait for it.
        holder: returns who is in the way, and what helps.
        shared: whether others may have it at the same time.
        waits: what a person is told who has to wait.

    Raises:
        InfrastructureError: somebody holds it for longer than that.
    """
    # Not there on Windows, which waits for no lock of ours.
    import fcntl

    how = fcntl.LOCK_SH if shared else fcntl.LOCK_EX

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
