"""Bounded waits: for conditions, and for locks on files.

The kernel releases a lock when its holder dies.
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
        attempt: a function that fails as long as the thing is not ready.
        timeout: seconds after which to give up.
        unless: errors that mean that it will never be ready; raised at once.
        interval: seconds between attempts.

    Raises:
        TimeoutError: it still failed; the message contains the last failure.
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
            time.sleep(interval)  # Polling: servers do not announce to clients that they are up.
        else:
            return


@contextmanager
def locked(file: Path, what: str, limit: float | None = None, *, waits: str = "") -> Iterator[int]:
    """Hold the lock on a file for the length of the block; yield the file's handle.

    Args:
        file: the lock file, created if missing.
        what: what the holder of the lock is doing, for the error message.
        limit: seconds to wait for it, by default enough to start a server from scratch.
        waits: a notice to print if we have to wait.

    Raises:
        InfrastructureError: another process holds it for longer than that.
    """
    handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        take(handle, limit or limits.START, lambda: _holder(file, what), waits=waits)
        # Only for the error messages of other processes; the disk may be full.
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
        handle: the file's descriptor.
        limit: seconds to wait for it.
        holder: returns a description of the holder, and a hint.
        shared: whether to take a shared lock.
        waits: a notice to print if we have to wait.

    Raises:
        InfrastructureError: another process holds it for longer than that.
    """
    # Imported late: Windows has no fcntl, and never gets here.
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
    """Another process holds the lock."""


def _holder(file: Path, what: str) -> tuple[str, str]:
    """Return a description of a lock's holder, and a hint how to end it."""
    number = file.read_text(encoding="ascii", errors="replace")
    if not number.isdecimal():
        return f"another process {what}, and does not end", f"see which it is: lsof {file}"
    return (
        f"the process {number} {what}, and does not end",
        f"see what it does: ps -fp {number}, lsof {file}; end it: kill {number}",
    )
