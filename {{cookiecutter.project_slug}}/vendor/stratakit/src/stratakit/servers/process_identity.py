"""Telling processes apart over the length of a machine's life."""

import os
import socket
from pathlib import Path


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
