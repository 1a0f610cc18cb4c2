"""Liveness of processes: by a lock that they hold, or by their identity on a machine.

Each process of a nox run holds a shared lock in the run's folder, which the kernel releases however
the process dies. A lock of nox alone would not do: it may be killed while its pytest runs on. Nor
would its pid, which may be reused.

Standard library only, since noxfile.py imports it.
"""

import os
import socket
import sys
from contextlib import suppress
from pathlib import Path

RUN = "STRATA_RUN"
"""Environment variable with the folder of the run that a process belongs to."""
_LOCK = "alive.lock"


def begin(folder: Path) -> None:
    """Hold the lock of a new run as long as this process lives.

    It is locked before it gets its name: an unlocked one would mark the run as dead.
    """
    # If this fails, writing the reports beside it raises an error; without locks, age decides.
    with suppress(OSError):
        folder.mkdir(parents=True)
        unnamed = folder / f".{_LOCK}"
        unnamed.touch()
        _hold(unnamed)
        unnamed.rename(folder / _LOCK)


def join() -> None:
    """Hold the lock of the run that started this process, if any."""
    folder = os.environ.get(RUN)
    if folder:
        # It is missing if the run is over or locking is not supported.
        with suppress(OSError):
            _hold(Path(folder, _LOCK))


def run_ended(folder: Path) -> bool | None:
    """Return whether all processes of a run have ended; None if unknown."""
    lock = folder / _LOCK
    if sys.platform == "win32" or not lock.exists():
        return None
    try:
        return not is_held(lock)
    except OSError:
        return None


def is_held(lock: Path) -> bool:
    """Return whether a process holds the lock on a file; False if there is no such file.

    Raises:
        OSError: the file cannot be opened, or locked.
    """
    import fcntl

    try:
        handle = os.open(lock, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def _hold(file: Path) -> None:
    # Windows cannot remove open files.
    if sys.platform != "win32":
        import fcntl

        # Never closed, and not inherited: a child that outlives this process has to join.
        fcntl.flock(os.open(file, os.O_RDWR), fcntl.LOCK_SH | fcntl.LOCK_NB)


def identity(pid: int) -> str:
    """Return an identity for a process on this machine that stays unique if its pid is reused."""
    return f"{socket.gethostname()}/{boot()}/{pid}/{_started(pid)}"


def here(identity_: str) -> bool:
    """Return whether the process with this identity is or was on this machine."""
    return identity_.partition("/")[0] == socket.gethostname()


def alive(identity_: str) -> bool:
    """Return whether the process with this identity still runs; True if unknown."""
    _, boot_, pid, started = identity_.split("/")
    if not here(identity_):
        return True
    return boot_ == boot() and started == _started(int(pid))


def ended(pid: int) -> bool:
    """Return whether a process has ended, including zombies."""
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return state in "ZX"


def boot() -> str:
    """Return the boot id of the machine; empty if the system has none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _started(pid: int) -> str:
    """Return the start time of a process in the system's own unit; empty if it is gone."""
    try:
        # The name in parentheses may hold spaces; the start time is the 20th field after it.
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19]
    except OSError:
        pass
    if os.name != "posix":
        return ""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except PermissionError:
        pass
    return "unknown"
