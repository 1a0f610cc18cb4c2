"""The parent of a process that goes on after the action which started it: a server, or a service.

It holds a lock for as long as it lives. Who finds the lock free knows that it is gone, whatever
process numbers are noted, and whoever has been given those numbers since.

A server ends when nobody uses it any more. Every run that does so holds a shared lock on its lease
file. Its parent asks for the exclusive one, which the kernel grants when the last holder is gone,
however it died. So there is no list of processes to keep, and nothing to clean up after SIGKILL.

A service ends when it is told to; its parent notes its exit code. The service holds the parent's
lock as well, since it goes on where only its parent is killed.

It is the parent because a child that has died stays visible to everybody else as a zombie, and
would pass for alive. It runs by itself, as a script: standard library only.
"""

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

LOCK, NOTE, LOG, LEASE = "supervisor.lock", "server.pid", "server.log", "lease"
HELD, WAKE = "held", "wake"
"""Files in a server's home. It stays up while one that begins like `held` is there, each of some
checkout; by `wake` its parent is told to look."""
SERVICE_LOCK, SERVICE_NOTE, SERVICE_LOG = "lock", "note.json", "log"
"""Files in a service's folder."""


def command(order: dict[str, Any]) -> list[str]:
    """Return the command that starts a process and leaves it to a parent of its own.

    Args:
        order: the `folder` of the files, the `command` and, of a server, the user to run it `as`
            and the `patience` between signals; of a service, what is `noted` of it.
    """
    # Isolated: what steers this run's Python, or measures what it runs, is not the parent's.
    return [sys.executable, "-IS", __file__, json.dumps(order)]


def main() -> None:
    """Carry out the order that is our argument."""
    order = json.loads(sys.argv[1])
    folder = Path(order["folder"])
    server = "patience" in order
    # Taken before the fork and shared by both sides, so that it is never free while we start.
    lock = os.open(folder / (LOCK if server else SERVICE_LOCK), os.O_RDWR | os.O_CREAT, 0o600)
    # Whoever starts us has seen that there is no other; waiting for one would have no end.
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    if os.fork():
        # Whoever called us need not wait for the end, nor keep a zombie of it.
        os._exit(0)
    os.setsid()
    if server:
        supervise(order, folder)
    else:
        keep(order, folder, lock)


def supervise(order: dict[str, Any], home: Path) -> None:
    """Run a server until its lease is free, or until it ends by itself."""
    # What an earlier server was held for has ended with it.
    for left in home.glob(f"{HELD}*"):
        left.unlink(missing_ok=True)
    if not (home / WAKE).exists():
        os.mkfifo(home / WAKE, 0o600)
    # Open for both ways: a writer finds a reader whenever it comes, and what it writes is kept.
    wake = os.open(home / WAKE, os.O_RDWR)
    server = _run(order, home / LOG, cwd=home / "store", **order["as"])
    (home / NOTE).write_text(str(server.pid), encoding="ascii")
    threading.Thread(target=_end_with, args=(server,), daemon=True).start()
    lease = os.open(home / LEASE, os.O_RDWR)
    fcntl.flock(lease, fcntl.LOCK_EX)
    while any(home.glob(f"{HELD}*")):
        # No run uses it, but somebody wants to: let others in until we are woken.
        fcntl.flock(lease, fcntl.LOCK_UN)
        os.read(wake, 1)
        fcntl.flock(lease, fcntl.LOCK_EX)
    # Still holding the lease: who comes now waits until the server is down, and starts it anew.
    for number in (signal.SIGINT, signal.SIGQUIT):
        server.send_signal(number)
        with suppress(subprocess.TimeoutExpired):
            server.wait(order["patience"])
            return
    # One that does not end would keep everybody from the lease.
    server.kill()
    server.wait()


def keep(order: dict[str, Any], folder: Path, lock: int) -> None:
    """Run a service until it ends, and then end with whatever processes it has left."""
    service = _run(order, folder / SERVICE_LOG, pass_fds=(lock,))
    facts = {
        "process": service.pid,
        "group": os.getpid(),
        **order["noted"],
        "started": time.time(),
    }
    note(folder, facts)
    note(folder, {**facts, "exit_code": service.wait(), "ended": time.time()})
    os.killpg(0, signal.SIGKILL)


def note(folder: Path, facts: dict[str, Any]) -> None:
    """Write down what is known of a service, in one step: a reader never meets half of it."""
    scratch = folder / f".{SERVICE_NOTE}"
    scratch.write_text(json.dumps(facts), encoding="ascii")
    scratch.replace(folder / SERVICE_NOTE)


def _run(order: dict[str, Any], log: Path, **options: Any) -> "subprocess.Popen[bytes]":
    with log.open("ab") as stream:
        return subprocess.Popen(
            order["command"], stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, **options
        )


def _end_with(server: "subprocess.Popen[bytes]") -> None:
    """End as soon as the server does, so that the next run does not wait for a dead one."""
    server.wait()
    os._exit(0)


if __name__ == "__main__":
    try:
        main()
    except OSError as error:
        # Into the log, whose last lines are shown.
        sys.exit(f"the parent of the process cannot go on: {error}")
