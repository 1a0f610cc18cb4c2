"""Real servers without Docker: one of each kind per machine, user and version, shared by all runs.

A server is warm: its data stays when it stops, so that the next start takes some 50 ms. It listens
only on a Unix socket, in a folder that only its user can enter, and not on TCP. The servers of
`dev` are separate, and `kept`: see `plans`.
"""

import errno
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import psutil

from .. import limits
from ..errors import InfrastructureError
from ..liveness import boot, ended, is_held
from ..settings import Settings
from . import binaries, checkout, external, supervisor
from .home import nameless, server_user
from .plans import ServerSpec, refuse_other_major, set_up
from .plans import plan as plan_of
from .supervisor import HELD, WAKE
from .waiting import locked, take, until

if TYPE_CHECKING:
    from . import Kind


def refusal(kind: "Kind") -> str | None:
    """Return why this machine cannot run an embedded server; None if it can."""
    if why := binaries.refusal(kind):
        return why
    return nameless() if kind == "postgres" else None


def require_name() -> None:
    """Make sure that initdb will accept the current user.

    Raises:
        InfrastructureError: the user has no name.
    """
    if why := nameless():
        raise InfrastructureError(
            f"the embedded postgres cannot be set up: {why}",
            "run as a user who has one, in a container for example by"
            " -v /etc/passwd:/etc/passwd:ro; or set TEST_DATABASE_URL",
        )


@contextmanager
def lease(
    kind: "Kind",
    settings: Settings,  # noqa: ARG001 - the seam's signature
    *,
    kept: bool = False,
) -> Iterator[str]:
    """Yield the URL of this machine's server, which stays up at least until the block ends.

    Raises:
        InfrastructureError: its programs are not installed, or it does not start.
    """
    if kind == "postgres":
        require_name()
    plan = plan_of(kind, kept=kept)
    with set_up(kind):
        handle = os.open(plan.home / supervisor.LEASE, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        with set_up(kind):
            _bring_up(plan, handle)
        yield plan.url
    finally:
        os.close(handle)


def _bring_up(plan: ServerSpec, lease: int) -> None:
    """Take the lease of a server, and start it unless it is up."""
    if plan.kept and plan.kind == "postgres" and plan.data.exists():
        refuse_other_major(plan, up=_supervised(plan))
    take(lease, limits.LEASE, lambda: _who_stops(plan), shared=True)
    with locked(plan.home / "start.lock", f"starts the embedded {plan.kind}"):
        if not _supervised(plan):
            _stop_orphan(plan)
        try:
            # It may be starting already, on behalf of a run that was killed since.
            up = _supervised(plan) and _comes_up(plan)
        except TimeoutError as error:
            raise _unanswering(plan, str(error)) from error
        if not up:
            start = _start_after_crash if _remove_stale_pidfile(plan) else _start
            start(plan)


def hold(kind: "Kind", *, kept: bool = False) -> None:
    """Keep a running server up after its last lease has ended."""
    with set_up(kind):
        (plan_of(kind, kept=kept).home / checkout.named(HELD)).touch()


@dataclass(frozen=True, slots=True)
class RunningServer:
    """A running server: its process id, and its start time as a Unix timestamp."""

    url: str
    process: int
    started: float
    error: str | None = None
    """Reason why it is up but unusable, if so."""


def find_running(kind: "Kind", *, kept: bool = False) -> RunningServer | None:
    """Return the server if it is up, without starting it."""
    if not _is_here(kind):
        return None
    plan = plan_of(kind, kept=kept)
    if not (_supervised(plan) and _listens(plan)):
        return None
    problem = None
    try:
        external.ping(kind, plan.url)
    except Exception as error:  # noqa: BLE001 - any failure means that it does not answer
        problem = _unanswering(plan, str(error).strip()).message
    try:
        process = _process(plan)
        return RunningServer(plan.url, process.pid, process.create_time(), problem)
    except (OSError, ValueError, psutil.Error):
        # It has just ended.
        return None


def has_data(kind: "Kind", *, kept: bool = False) -> bool:
    """Return whether the server has ever been started, and so may hold data."""
    return _is_here(kind) and plan_of(kind, kept=kept).data.exists()


def _is_here(kind: "Kind") -> bool:
    """Return whether a server's programs are installed, without which it cannot be up."""
    return not refusal(kind) and binaries.here(kind) is not None


def release(kind: "Kind") -> bool:
    """Let this checkout's servers stop once no run uses them; return whether it held any."""
    if not _is_here(kind):
        return False
    return sum(_released(kind, plan_of(kind, kept=kept)) for kept in (False, True)) > 0


def _released(kind: "Kind", plan: ServerSpec) -> bool:
    home = plan.home
    mine = home / checkout.named(HELD)
    held = mine.exists()
    with set_up(kind):
        mine.unlink(missing_ok=True)
    # Without a supervisor the pipe has no reader, and nothing needs to be woken.
    with suppress(OSError):
        pipe = os.open(home / WAKE, os.O_WRONLY | os.O_NONBLOCK)
        try:
            os.write(pipe, b".")
        finally:
            os.close(pipe)
    if held and not _supervised(plan):
        _stop_orphan(plan)
    return held


def _start(plan: ServerSpec) -> None:
    log = plan.home / supervisor.LOG
    log.unlink(missing_ok=True)
    # Private: PostgreSQL logs the text of failed statements.
    log.touch(mode=0o600)
    binaries.open_up(plan.programs, Path(plan.command[0]))
    if plan.prepare:
        _make_data(plan, plan.prepare, log)
    order = {
        "command": plan.command,
        "folder": str(plan.home),
        "as": as_server_user(),
        "patience": limits.SERVER_STOP,
    }
    with log.open("ab") as stream:
        code = _run(supervisor.command(order), limits.PROCESS, stream)
    supervisor.refuse_full(code, plan.home)
    try:
        up = _comes_up(plan)
    except TimeoutError as error:
        raise _failure(plan, log, str(error)) from error
    if not up:
        raise _failure(plan, log, "it ended at once")


def _comes_up(plan: ServerSpec) -> bool:
    """Wait until a supervised server answers; return whether it is still supervised.

    Raises:
        TimeoutError: it does not answer in time.
    """

    def ready() -> None:
        if _supervised(plan):
            external.ping(plan.kind, plan.url)

    until(ready, limits.SERVER_START)
    return _supervised(plan)


def _remove_stale_pidfile(plan: ServerSpec) -> bool:
    """Remove a stale postmaster.pid; return whether PostgreSQL died here with its supervisor.

    An unreaped zombie still looks alive to the next server, which then refuses to start. In a
    container there may be no process that ever reaps it.
    """
    ghost = plan.data / "postmaster.pid"
    if not ghost.exists():
        return False
    number = ghost.read_text(encoding="ascii", errors="replace").partition("\n")[0]
    # A power failure may have left the file empty.
    if not number.isdecimal() or ended(int(number)):
        ghost.unlink()
    return True


def _start_after_crash(plan: ServerSpec) -> None:
    # Its children keep its shared memory until they notice that the parent is gone.
    try:
        until(lambda: _start(plan), limits.CRASH)
    except TimeoutError as error:
        raise InfrastructureError(
            f"the embedded {plan.kind} does not start again after a crash: {error}",
            f"to start over: {plan.anew}",
        ) from error


def _make_data(plan: ServerSpec, prepare: list[str], log: Path) -> None:
    """Create the server's data unless it exists and can be trusted."""
    data, init, stamp = plan.data, plan.store / "init", plan.home / "boot"
    if plan.kept and data.exists():
        return
    # With fsync off, data from before the last boot may be corrupt.
    if data.exists() and stamp.exists() and stamp.read_text(encoding="ascii") == boot():
        return
    # initdb inherits the lock: it keeps running for a while after its run was killed.
    making = locked(plan.home / "init.lock", "makes the data of a server", limits.DATA)
    with making as lock, log.open("ab") as stream:
        for folder in (init,) if plan.kept else (data, init):
            shutil.rmtree(folder, ignore_errors=True)
        code = _run(
            prepare, limits.DATA, stream, cwd=plan.store, pass_fds=(lock,), **as_server_user()
        )
    if code:
        raise _failure(plan, log, f"initdb ended with exit code {code}")
    # Renamed when complete, so that a killed run leaves no half-made data.
    init.rename(data)
    stamp.write_text(boot(), encoding="ascii")


def _run(command: list[str], limit: float, log: IO[bytes], **options: Any) -> int:
    """Run a program with its output in a log; return its exit code.

    Raises:
        InfrastructureError: it does not finish in time.
    """
    try:
        return subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            check=False,
            timeout=limit,
            **options,
        ).returncode
    except subprocess.TimeoutExpired as error:
        raise InfrastructureError(
            f"{Path(command[0]).name} did not finish within {limit:g} s and was stopped",
            "check the disk and the machine's load: dmesg, top; then try again",
        ) from error


def _failure(plan: ServerSpec, log: Path, why: str) -> InfrastructureError:
    tail = log.read_text(encoding="utf-8", errors="replace")[-2000:].strip()
    return InfrastructureError(
        f"the embedded {plan.kind} did not start: {why}\n{tail}",
        f"see what the log says; to start over: {plan.anew}",
    )


def as_server_user() -> dict[str, Any]:
    """Return the options that make `subprocess` drop root's rights; none for other users."""
    user = server_user()
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if user else {}


def _supervised(plan: ServerSpec) -> bool:
    """Return whether a supervisor is alive, and so holds its lock."""
    return is_held(plan.home / supervisor.LOCK)


def _stop_orphan(plan: ServerSpec) -> None:
    """Stop a server whose supervisor was killed: nothing else ever would."""
    if not _listens(plan):
        return
    number = _listener(plan)
    with suppress(ProcessLookupError):
        if number:
            os.kill(number, signal.SIGINT)

    def gone() -> None:
        if _listens(plan):
            raise TimeoutError("it still listens")

    try:
        until(gone, limits.SERVER_STOP)
    except TimeoutError as error:
        raise InfrastructureError(
            f"the embedded {plan.kind} has lost its supervisor and does not stop",
            f"end it: kill -KILL {number or f'$(lsof -t {plan.socket})'}",
        ) from error


def _process(plan: ServerSpec) -> psutil.Process:
    """Return a server's process; without a socket, only its supervisor's file says which it is."""
    return psutil.Process(_listener(plan) or int(plan.note.read_text(encoding="ascii")))


def _listener(plan: ServerSpec) -> int | None:
    """Return the pid of the process that listens on the server's socket; None if none accepts.

    The kernel knows it, whatever has become of the file that the supervisor writes.
    """
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(limits.ANSWER)
        if probe.connect_ex(str(plan.socket)):
            return None
        # macOS: LOCAL_PEERPID of SOL_LOCAL, which Python does not name.
        peer = (0, 2) if sys.platform == "darwin" else (socket.SOL_SOCKET, socket.SO_PEERCRED)
        return int.from_bytes(probe.getsockopt(*peer, 12)[:4], sys.byteorder) or None


def _listens(plan: ServerSpec) -> bool:
    """Return whether a process listens on the server's socket, even if it does not answer."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(limits.ANSWER)
        # EAGAIN: it listens, but its backlog is full.
        return probe.connect_ex(str(plan.socket)) in (0, errno.EAGAIN)


def _unanswering(plan: ServerSpec, why: str) -> InfrastructureError:
    """Return the error for a server that is up but does not answer: it is full, or halted.

    Args:
        plan: the server's.
        why: the failure of the last attempt to connect.
    """
    number, halted, users = _look(plan)
    said = (
        f"the embedded {plan.kind} is up (process {number}{halted}) but refuses connections: {why}"
    )
    if halted:
        return InfrastructureError(said, f"kill -CONT {number}")
    if users:
        said += f"\nits connections are taken by: {users}"
    return InfrastructureError(
        said, f"end what is connected to it; or the server, whose data stays: kill -INT {number}"
    )


def _who_stops(plan: ServerSpec) -> tuple[str, str]:
    """Return the message and hint for a server that is taking too long to stop."""
    number, halted, _ = _look(plan)
    return (
        f"the embedded {plan.kind} (process {number}{halted}) is being stopped, and does not end",
        f"end it: kill -KILL {number}",
    )


def _look(plan: ServerSpec) -> tuple[str, str, str]:
    """Return a server's process id, whether it is halted, and its connections by user."""
    try:
        process = _process(plan)
        halted = ", which is halted" if process.status() == psutil.STATUS_STOPPED else ""
        titles = [_title(each) for each in process.children()]
    except (OSError, ValueError, psutil.Error):
        return "unknown", "", ""
    # PostgreSQL's process title for a session: `postgres: USER DATABASE [local] idle`.
    names = [title[2] for title in titles if len(title) > 3 and title[3].startswith("[")]  # noqa: PLR2004 - as above
    users = ", ".join(f"{name} ({n})" for name, n in Counter(names).most_common())
    return str(process.pid), halted, users


def _title(process: psutil.Process) -> list[str]:
    # Zombies that a halted server has not reaped have no command line.
    with suppress(psutil.Error):
        return " ".join(process.cmdline()).split()
    return []
