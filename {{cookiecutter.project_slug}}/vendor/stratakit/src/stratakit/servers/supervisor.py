"""The parent of an embedded server: stops it when nobody uses it any more.

Every run that uses the server holds a shared lock on its lease file. The supervisor asks for the
exclusive one, which the kernel grants when the last holder is gone, however it died. So there is no
list of processes to keep, and nothing to clean up after SIGKILL.

It is the server's parent because a child that has died stays visible to everybody else as a zombie,
and would pass for alive. It runs by itself, as a script: standard library only.
"""

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

HELD, WAKE = "held", "wake"
"""Files in a server's home: it stays up while one that begins like the first is there, each of some
checkout; the second wakes us to look."""


def main() -> None:
    """Start a server and leave it to a process of its own."""
    order = json.loads(sys.argv[1])
    home = Path(order["home"])
    # Taken before the fork and shared by both sides, so that it is never free while we start.
    alive = os.open(home / "supervisor.lock", os.O_RDWR | os.O_CREAT, 0o600)
    # Whoever starts us has seen that there is no other; waiting for one would have no end.
    fcntl.flock(alive, fcntl.LOCK_EX | fcntl.LOCK_NB)
    if os.fork():
        # Whoever called us need not wait for the server's end, nor keep a zombie of it.
        os._exit(0)
    os.setsid()
    supervise(order, home)


def supervise(order: dict[str, Any], home: Path) -> None:
    """Run a server until its lease is free, or until it ends by itself."""
    # What an earlier server was held for has ended with it.
    for left in home.glob(f"{HELD}*"):
        left.unlink(missing_ok=True)
    if not (home / WAKE).exists():
        os.mkfifo(home / WAKE, 0o600)
    # Open for both ways: a writer finds a reader whenever it comes, and what it writes is kept.
    wake = os.open(home / WAKE, os.O_RDWR)
    with (home / "server.log").open("ab") as log:
        server = subprocess.Popen(
            order["command"],
            cwd=home / "store",
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            **order["as"],
        )
    (home / "server.pid").write_text(str(server.pid), encoding="ascii")
    threading.Thread(target=_end_with, args=(server,), daemon=True).start()
    lease = os.open(home / "lease", os.O_RDWR)
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


def _end_with(server: "subprocess.Popen[bytes]") -> None:
    """End as soon as the server does, so that the next run does not wait for a dead one."""
    server.wait()
    os._exit(0)


if __name__ == "__main__":
    try:
        main()
    except OSError as error:
        # Into the server's log, whose last lines are told.
        sys.exit(f"the parent of the server cannot go on: {error}")
