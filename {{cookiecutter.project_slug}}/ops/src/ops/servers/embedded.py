"""Real servers without Docker: one of each for a machine, user and version, shared by its runs.

A server is warm: its data stays when it stops, so that the next start takes some 50 ms. It listens
on a Unix socket in a folder that only its user can enter, and on no TCP port.
"""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from ..errors import InfrastructureError
from ..settings import Settings
from . import binaries, url
from .home import cache, server_user, sockets, store
from .processes import boot, ended
from .supervisor import HELD, WAKE
from .waiting import until

if TYPE_CHECKING:
    from . import Kind

FORMAT = 1
"""Raise it when what is kept in a server's folder changes its shape."""
START_TIMEOUT = 30
"""Seconds that a server may take to accept connections."""
CRASH_TIMEOUT = 5
"""Seconds that the children of a server which was killed may take to end."""

POSTGRES_OPTIONS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    # What makes it fast where its data may go with the machine's power.
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "autovacuum": "off",
    "jit": "off",
    "checkpoint_timeout": "1h",
}
REDIS_OPTIONS = {
    "port": "0",
    "unixsocketperm": "700",
    "databases": "64",
    "save": "",
    "appendonly": "no",
}


@dataclass(frozen=True, slots=True)
class Plan:
    """How to run one server."""

    kind: "Kind"
    home: Path
    """What is ours: the lease, the locks, the log, the copied programs."""
    url: str
    command: list[str]
    prepare: list[str] | None = None
    """What makes the data in the folder `init`, once; None where a server needs no such thing."""

    @property
    def store(self) -> Path:
        """What is the server's own: its data and its sockets."""
        return self.home / "store"


def refusal(kind: "Kind") -> str | None:
    """Return why this machine cannot run a server by itself; None if it can."""
    try:
        binaries.installation(kind)
    except InfrastructureError as error:
        return error.what
    return None


@contextmanager
def lease(kind: "Kind", settings: Settings) -> Iterator[str]:  # noqa: ARG001 - the seam's signature
    """Yield the URL of the machine's server, which stays up at least until the block ends.

    Raises:
        InfrastructureError: its programs are not installed, or it does not start.
    """
    try:
        plan = _plan(kind)
        handle = os.open(plan.home / "lease", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise InfrastructureError(
            f"the embedded {kind} cannot be set up: {error}",
            "make room on the disk, or mend the folder that it names",
        ) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_SH)
        with _locked(plan.home / "start.lock"):
            if not _supervised(plan):
                _stop_orphan(plan)
            if not _answers(plan):
                start = _start_after_crash if _bury(plan) else _start
                start(plan)
        yield plan.url
    finally:
        os.close(handle)


def hold(kind: "Kind") -> None:
    """Keep the server up after the last lease has ended; it has to be up."""
    (_plan(kind).home / HELD).touch()


@dataclass(frozen=True, slots=True)
class Standing:
    """A server that is up: its process, and when it started, in seconds since 1970."""

    url: str
    process: int
    started: float


def standing(kind: "Kind") -> Standing | None:
    """Return what is known of the server if it is up; it is not started."""
    if refusal(kind):
        return None
    plan = _plan(kind)
    if not (_supervised(plan) and _answers(plan)):
        return None
    note = plan.home / "server.pid"
    return Standing(plan.url, int(note.read_text(encoding="ascii")), note.stat().st_mtime)


def release(kind: "Kind") -> bool:
    """Let a server that is held go as soon as no run uses it; return whether it was held."""
    if refusal(kind):
        return False
    home = _plan(kind).home
    held = (home / HELD).exists()
    (home / HELD).unlink(missing_ok=True)
    # Without a supervisor nobody reads the pipe, and then there is nobody to wake.
    with suppress(OSError):
        pipe = os.open(home / WAKE, os.O_WRONLY | os.O_NONBLOCK)
        try:
            os.write(pipe, b".")
        finally:
            os.close(pipe)
    return held


def _plan(kind: "Kind") -> Plan:
    return (_plan_postgres if kind == "postgres" else _plan_redis)(binaries.installation(kind))


def _plan_postgres(found: binaries.Installation) -> Plan:
    identity = binaries.key(FORMAT, found.version or found.folder, POSTGRES_OPTIONS)
    home = _home(f"pg-{identity}")
    with _locked(home / "programs.lock"):
        programs = found.copied(home / "programs")
    folder = sockets(store(home / "store"), ".s.PGSQL.5432")
    options = [word for item in POSTGRES_OPTIONS.items() for word in ("-c", "=".join(item))]
    return Plan(
        kind="postgres",
        home=home,
        url=f"postgresql://postgres@/postgres?host={quote(str(folder), safe='')}&port=5432",
        command=[
            *(str(programs / "postgres"), "-D", str(home / "store" / "data")),
            *("-k", str(folder), *options),
        ],
        prepare=[
            *(str(programs / "initdb"), "-D", str(home / "store" / "init"), "-U", "postgres"),
            *("-E", "UTF8", "--locale=C.UTF-8" if sys.platform == "linux" else "--locale=C"),
            # The folder of the socket keeps others out; a password would be one more secret.
            *("--auth=trust", "--no-sync", "--no-instructions", "--wal-segsize=1"),
        ],
    )


def _plan_redis(found: binaries.Installation) -> Plan:
    identity = binaries.key(FORMAT, found.version or found.folder, REDIS_OPTIONS)
    home = _home(f"redis-{identity}")
    with _locked(home / "programs.lock"):
        programs = found.copied(home / "programs")
    names = ("valkey-server", "redis-server")
    program = next(programs / name for name in names if (programs / name).exists())
    socket = sockets(store(home / "store"), "redis.sock") / "redis.sock"
    options = [word for name, value in REDIS_OPTIONS.items() for word in (f"--{name}", value)]
    return Plan(
        kind="redis",
        home=home,
        url=f"unix://{quote(str(socket))}",
        command=[str(program), "--unixsocket", str(socket), *options],
    )


def _home(name: str) -> Path:
    home = cache() / name
    # Others may pass through (nobody must, below root's), but see nothing.
    home.mkdir(mode=0o711, parents=True, exist_ok=True)
    return home


def _start(plan: Plan) -> None:
    log = plan.home / "server.log"
    log.unlink(missing_ok=True)
    if plan.prepare:
        _make_data(plan, plan.prepare, log)
    order = {"command": plan.command, "home": str(plan.home), "as": _as_server_user()}
    # Isolated: what steers this run's Python, or measures what it runs, is not the supervisor's.
    script = [sys.executable, "-IS", str(Path(__file__).with_name("supervisor.py"))]
    with log.open("ab") as stream:
        subprocess.run(
            [*script, json.dumps(order)],
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            check=True,
        )

    def ready() -> None:
        if not _supervised(plan):
            raise InfrastructureError("it ended at once")
        url.ping(plan.kind, plan.url)

    try:
        until(ready, START_TIMEOUT, unless=InfrastructureError)
    except (TimeoutError, InfrastructureError) as error:
        raise _failure(plan, log, str(error)) from error


def _bury(plan: Plan) -> bool:
    """Say whether a PostgreSQL died here with its supervisor; take away what passes for its life.

    A process that nobody has taken notice of is there for the next server, which then refuses to
    start beside it. In a container there may be nobody who ever does.
    """
    ghost = plan.store / "data" / "postmaster.pid"
    if not ghost.exists():
        return False
    number = ghost.read_text(encoding="ascii", errors="replace").partition("\n")[0]
    # No number is in what a loss of power has left empty.
    if not number.isdecimal() or ended(int(number)):
        ghost.unlink()
    return True


def _start_after_crash(plan: Plan) -> None:
    # Its children hold on to its memory until they notice that they are alone.
    try:
        until(lambda: _start(plan), CRASH_TIMEOUT)
    except TimeoutError as error:
        raise InfrastructureError(
            f"the embedded {plan.kind} does not start again after a crash: {error}",
            f"to begin anew: rm -r {plan.home}",
        ) from error


def _make_data(plan: Plan, prepare: list[str], log: Path) -> None:
    """Make the server's data unless there is some that can be trusted."""
    data, init, stamp = plan.store / "data", plan.store / "init", plan.home / "boot"
    # With fsync off, what is on the disk after a crash of the machine may be half of the truth.
    if data.exists() and stamp.exists() and stamp.read_text(encoding="ascii") == boot():
        return
    # The program holds the lock as well: of a run that was killed it goes on for a while.
    with _locked(plan.home / "init.lock") as lock, log.open("ab") as stream:
        for folder in (data, init):
            shutil.rmtree(folder, ignore_errors=True)
        made = subprocess.run(
            prepare,
            cwd=plan.store,
            pass_fds=(lock,),
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            check=False,
            **_as_server_user(),
        )
    if made.returncode:
        raise _failure(plan, log, f"initdb ended with exit code {made.returncode}")
    # Renamed when it is whole, so that a run which was killed here leaves nothing to stumble over.
    init.rename(data)
    stamp.write_text(boot(), encoding="ascii")


def _failure(plan: Plan, log: Path, why: str) -> InfrastructureError:
    tail = log.read_text(encoding="utf-8", errors="replace")[-2000:].strip()
    return InfrastructureError(
        f"the embedded {plan.kind} did not start: {why}\n{tail}",
        f"see what the log says; to begin anew: rm -r {plan.home}",
    )


def _as_server_user() -> dict[str, Any]:
    """Return what makes `subprocess` drop root's rights; nothing for everybody else."""
    user = server_user()
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if user else {}


def _supervised(plan: Plan) -> bool:
    """Say whether a supervisor is alive, which then holds its lock."""
    handle = os.open(plan.home / "supervisor.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def _stop_orphan(plan: Plan) -> None:
    """Stop a server whose supervisor was killed: nobody would ever stop it otherwise."""
    file = plan.home / "server.pid"
    if not _answers(plan) or not file.exists():
        return
    # It answers on a socket that only we can reach, so the number is still that server's.
    os.kill(int(file.read_text(encoding="ascii")), signal.SIGINT)

    def gone() -> None:
        if _answers(plan):
            raise TimeoutError("it answers")

    try:
        until(gone, START_TIMEOUT)
    except TimeoutError as error:
        raise InfrastructureError(
            f"the embedded {plan.kind} has lost its supervisor and does not stop",
            f"end it, whose process {file} names",
        ) from error


def _answers(plan: Plan) -> bool:
    try:
        url.ping(plan.kind, plan.url)
    except Exception:  # noqa: BLE001 - whichever way it does not answer, it has to be started
        return False
    return True


@contextmanager
def _locked(file: Path) -> Iterator[int]:
    handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield handle
    finally:
        os.close(handle)
