"""Whether processes still live: by a lock that they hold, or by what names them on a machine.

Each process of a run of nox holds a shared lock in the run's folder, which the kernel takes back
from whoever dies, however that is. nox alone would not do: it may be killed while its pytest runs
on. Nor would its number, which another process may have meanwhile.

Standard library only, since noxfile.py imports it.
"""

import os
import socket
import sys
from contextlib import suppress
from pathlib import Path

RUN = "STRATA_RUN"
"""The variable that names the folder of the run that a process belongs to."""
_LOCK = "alive.lock"


def begin(folder: Path) -> None:
    """Hold the lock of a new run as long as this process lives.

    It is held before it has its name: a lock that nobody holds is that of a dead run.
    """
    # Where it cannot be made, what is written next to it says so; without locks, age decides.
    with suppress(OSError):
        folder.mkdir(parents=True)
        unnamed = folder / f".{_LOCK}"
        unnamed.touch()
        _hold(unnamed)
        unnamed.rename(folder / _LOCK)


def join() -> None:
    """Hold the lock of the run that has started this process, if one has."""
    folder = os.environ.get(RUN)
    if folder:
        # None is there where the run is over, or nothing can be locked.
        with suppress(OSError):
            _hold(Path(folder, _LOCK))


def run_ended(folder: Path) -> bool | None:
    """Return whether a run has no process any more; None where that cannot be known."""
    lock = folder / _LOCK
    if sys.platform == "win32" or not lock.exists():
        return None
    try:
        return not is_held(lock)
    except OSError:
        return None


def is_held(lock: Path) -> bool:
    """Return whether somebody holds the lock on a file, which need not be there.

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
    # Windows removes no file that is open.
    if sys.platform != "win32":
        import fcntl

        # Never closed, and not for those that this process starts: what outlives it has to join.
        fcntl.flock(os.open(file, os.O_RDWR), fcntl.LOCK_SH | fcntl.LOCK_NB)


def identity(pid: int) -> str:
    """Return what names a process on this machine, even once its number is given to another."""
    return f"{socket.gethostname()}/{boot()}/{pid}/{_started(pid)}"


def here(identity_: str) -> bool:
    """Return whether the process with this identity is, or was, one of this machine's."""
    return identity_.partition("/")[0] == socket.gethostname()


def alive(identity_: str) -> bool:
    """Return whether the process with this identity still runs; True where that cannot be known."""
    _, boot_, pid, started = identity_.split("/")
    if not here(identity_):
        return True
    return boot_ == boot() and started == _started(int(pid))


def ended(pid: int) -> bool:
    """Return whether a process has ended, even if its parent has not taken notice yet."""
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return state in "ZX"


def boot() -> str:
    """Return what changes when the machine starts anew, or an empty string where nothing tells."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _started(pid: int) -> str:
    """Return when a process started, in whatever unit the system has; empty if it is gone."""
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
