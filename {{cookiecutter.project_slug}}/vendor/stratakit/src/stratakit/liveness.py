"""Whether a run of nox still has a process: each of them holds a shared lock in the run's folder.

The kernel takes the lock back from whoever dies, however that is. nox alone would not do: it may be
killed while its pytest runs on. Nor would its number, which another process may have meanwhile.
Standard library only, since noxfile.py imports it.
"""

import os
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


def ended(folder: Path) -> bool | None:
    """Return whether a run has no process any more; None where that cannot be told."""
    if sys.platform == "win32":
        return None
    import fcntl

    try:
        handle = os.open(folder / _LOCK, os.O_RDWR)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    finally:
        os.close(handle)
    return True


def _hold(file: Path) -> None:
    # Windows removes no file that is open.
    if sys.platform != "win32":
        import fcntl

        # Never closed, and not for those that this process starts: what outlives it has to join.
        fcntl.flock(os.open(file, os.O_RDWR), fcntl.LOCK_SH | fcntl.LOCK_NB)
