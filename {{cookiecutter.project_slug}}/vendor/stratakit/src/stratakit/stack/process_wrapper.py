"""The parent of a service's process: notes how it ends.

Both hold a lock for as long as they live. Who finds it free knows that neither does, whatever
numbers are noted, and whoever has been given those numbers since. The service has it too, since it
goes on where only its keeper is killed. It runs by itself, as a script: standard library only.
"""

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

LOCK, NOTE, LOG = "lock", "note.json", "log"
"""Files in a service's folder."""


def main() -> None:
    """Start a service and leave it to a process of its own."""
    order = json.loads(sys.argv[1])
    folder = Path(order["folder"])
    # Taken before the fork and shared by both sides, so that it is never free while we start.
    lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    # Whoever starts us has seen that there is no other; waiting for one would have no end.
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    if os.fork():
        # Whoever called us need not wait for the service's end.
        os._exit(0)
    os.setsid()
    keep(order, folder, lock)


def keep(order: dict[str, Any], folder: Path, lock: int) -> None:
    """Run a service until it ends, and then end with whatever processes it has left."""
    with (folder / LOG).open("ab") as log:
        service = subprocess.Popen(
            order["command"], stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=(lock,)
        )
    facts = {
        "process": service.pid,
        "group": os.getpid(),
        "port": order["port"],
        "started": time.time(),
    }
    note(folder, facts)
    note(folder, {**facts, "exit_code": service.wait(), "ended": time.time()})
    os.killpg(0, signal.SIGKILL)


def note(folder: Path, facts: dict[str, Any]) -> None:
    """Write down what is known, in one step: a reader never meets half of it."""
    scratch = folder / f".{NOTE}"
    scratch.write_text(json.dumps(facts), encoding="ascii")
    scratch.replace(folder / NOTE)


if __name__ == "__main__":
    main()
