"""Parent process of a server or service that outlives the action which started it.

It holds a lock while it lives. A free lock proves that it is gone, whatever process numbers are
recorded, and even if those numbers have been reused since.

A server stops when it is no longer in use. Every run that uses it holds a shared lock on its lease
file. Its parent requests the exclusive lock, which the kernel grants when the last holder is gone,
however it died. So there is no list of processes to maintain, and no cleanup after SIGKILL.

A service stops when told to; its parent records the exit code. The service holds the parent's lock
as well, since it keeps running if only its parent is killed.

It has to be the parent: a dead child stays visible to all other processes as a zombie, and would
look alive. It runs on its own, as a script: standard library only.
"""

import errno
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
from typing import IO, Any

LOCK, NOTE, LOG, LEASE = "supervisor.lock", "server.pid", "server.log", "lease"
HELD, WAKE = "held", "wake"
"""Files in a server's home. It stays up while any file named `held*` exists, one for each checkout;
writing to `wake` makes its parent look again."""
SERVICE_LOCK, SERVICE_NOTE, SERVICE_LOG = "lock", "note.json", "log"
"""Files in a service's folder."""
STUCK = "the parent of the process cannot go on"


def command(order: dict[str, Any]) -> list[str]:
    """Return the command that starts a process under a supervisor of its own.

    Args:
        order: the `folder` of the files, the `command` and, for a server, the user to run it `as`
            and the `patience` between signals; for a service, the facts to record (`noted`).
    """
    # Isolated (-I): PYTHON* variables and coverage of this run must not affect the supervisor.
    return [sys.executable, "-IS", __file__, json.dumps(order)]


def refuse_full(code: int, folder: Path) -> None:
    """Raise the error of a full disk, given the exit code of `command`: the log may not have it.

    Raises:
        OSError: the disk is full.
    """
    if code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        raise OSError(code, os.strerror(code), str(folder))


def main() -> None:
    """Carry out the order in the first argument."""
    order = json.loads(sys.argv[1])
    folder = Path(order["folder"])
    server = "patience" in order
    # Taken before the fork and shared by both sides, so that it is never free while we start.
    lock = os.open(folder / (LOCK if server else SERVICE_LOCK), os.O_RDWR | os.O_CREAT, 0o600)
    # The caller has checked that no other supervisor runs; waiting for one could hang forever.
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    told, tell = os.pipe()
    if os.fork():
        os.close(tell)
        # The caller waits only until the state file is written, and keeps no zombie of us. If it
        # cannot be written, our exit code is the errno: the log may be on the same full disk.
        os._exit(int(os.read(told, 9) or 0))
    os.close(told)
    os.setsid()
    with os.fdopen(tell, "w") as starter:
        try:
            if server:
                supervise(order, folder, starter)
            else:
                keep(order, folder, lock, starter)
        except OSError as error:
            _tell(starter, error)


def _tell(starter: IO[str], error: OSError) -> None:
    # The log may be on a full disk, and after the start nobody waits for an answer.
    for text, stream in ((f"{STUCK}: {error}", sys.stderr), (error.errno or 1, starter)):
        with suppress(OSError, ValueError):
            print(text, file=stream, flush=True)


def supervise(order: dict[str, Any], home: Path, starter: IO[str]) -> None:
    """Run a server until its lease is free, or until it exits by itself.

    Args:
        order: see `command`.
        home: the folder of the server.
        starter: closed once the server runs and its process id is written.
    """
    # Leftovers of an earlier server, which no longer hold anything.
    for left in home.glob(f"{HELD}*"):
        left.unlink(missing_ok=True)
    if not (home / WAKE).exists():
        os.mkfifo(home / WAKE, 0o600)
    # Opened read-write: writers always find a reader, and what they write is buffered.
    wake = os.open(home / WAKE, os.O_RDWR)
    server = _run(order, home / LOG, cwd=home / "store", **order["as"])
    try:
        write(home / NOTE, str(server.pid))
        starter.close()
        threading.Thread(target=_end_with, args=(server,), daemon=True).start()
        lease = os.open(home / LEASE, os.O_RDWR)
        fcntl.flock(lease, fcntl.LOCK_EX)
        while any(home.glob(f"{HELD}*")):
            # No run uses it, but it is held up: let runs take the lease until we are woken.
            fcntl.flock(lease, fcntl.LOCK_UN)
            os.read(wake, 1)
            fcntl.flock(lease, fcntl.LOCK_EX)
    finally:
        # We still hold the lease: a new run waits until the server is down, then restarts it. Nor
        # does the server stay up if we cannot go on, on a full disk for example.
        _stop(server, order["patience"])


def _stop(server: "subprocess.Popen[bytes]", patience: float) -> None:
    for number in (signal.SIGINT, signal.SIGQUIT):
        server.send_signal(number)
        with suppress(subprocess.TimeoutExpired):
            server.wait(patience)
            return
    # A server that does not stop would block the lease forever.
    server.kill()
    server.wait()


def keep(order: dict[str, Any], folder: Path, lock: int, starter: IO[str]) -> None:
    """Run a service until it exits, then kill what it has left running.

    Args:
        order: see `command`.
        folder: the folder of the service.
        lock: our lock, which the service inherits.
        starter: closed once the service runs and its state file is written.
    """
    service = _run(order, folder / SERVICE_LOG, pass_fds=(lock,))
    facts = {
        "process": service.pid,
        "group": os.getpid(),
        **order["noted"],
        "started": time.time(),
    }
    try:
        note(folder, facts)
        starter.close()
        note(folder, {**facts, "exit_code": service.wait(), "ended": time.time()})
    except OSError as error:
        _tell(starter, error)
    finally:
        # Also if the disk is full: it would be hard to stop a service that has no state file.
        os.killpg(0, signal.SIGKILL)


def note(folder: Path, facts: dict[str, Any]) -> None:
    """Write a service's state file."""
    write(folder / SERVICE_NOTE, json.dumps(facts))


def write(file: Path, text: str) -> None:
    """Write a file atomically, as `results.write` does: readers never see half of it."""
    scratch = file.with_name(f".{file.name}")
    try:
        scratch.write_text(text, encoding="ascii")
        scratch.replace(file)
    except OSError:
        scratch.unlink(missing_ok=True)
        raise


def _run(order: dict[str, Any], log: Path, **options: Any) -> "subprocess.Popen[bytes]":
    with log.open("ab") as stream:
        return subprocess.Popen(
            order["command"], stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, **options
        )


def _end_with(server: "subprocess.Popen[bytes]") -> None:
    """Exit as soon as the server does, so that the next run does not wait for a dead one."""
    server.wait()
    os._exit(0)


if __name__ == "__main__":
    try:
        main()
    except OSError as error:
        # stderr is the log, whose last lines are shown.
        sys.exit(f"{STUCK}: {error}")
