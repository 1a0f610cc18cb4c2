"""State files that a full disk or a power failure has left empty, and servers and services then."""

import errno
import fcntl
import json
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from stratakit import limits, liveness, programs, project, pyproject, results
from stratakit.cloud import local
from stratakit.errors import InfrastructureError
from stratakit.programs import free_port
from stratakit.servers import checkout, supervisor
from stratakit.servers.waiting import until
from stratakit.stack import containers, record, service_env
from stratakit.stack.health import State
from stratakit.stack.processes import Process

from .scratch import Scratch

DAMAGE = {"empty": b"", "zeros": b"\0" * 9, "half": b'{"process": 1', "odd": b'{"process": "x"}'}
SERVICE = "import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit()); signal.pause()"


@pytest.fixture(params=DAMAGE)
def damage(request: pytest.FixtureRequest) -> bytes:
    """Content of a damaged file."""
    return DAMAGE[request.param]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder of a stack's files, for this test alone."""
    for name in ("cache", "place"):
        monkeypatch.setattr(record, name, lambda: tmp_path)
    return record.folder()


@pytest.fixture
def service(folder: Path) -> Iterator[Process]:
    """A running service."""
    process = Process("teller", folder)
    process.run([sys.executable, "-c", SERVICE], os.environ, free_port())
    group = process.facts()["group"]
    yield process
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def test_a_damaged_file_is_read_as_if_it_were_missing(damage: bytes, tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    assert results.read(file, process=int) == {}
    file.write_bytes(damage)
    assert results.read(file, process=int) == {}
    results.write(file, json.dumps({"process": 1}))
    assert results.read(file, process=int) == {"process": 1}
    assert [*tmp_path.iterdir()] == [file]


READERS: dict[str, Callable[[Path], object]] = {
    "record.json": lambda _: record.load(),
    "teller/note.json": lambda folder: Process("teller", folder).facts(),
    "machine.json": local._note,
    "secrets.json": lambda _: [
        *service_env._of_user(replace(project.services()[0], secrets=("KEY",)))
    ],
    "compose.json": lambda _: [each for each in containers._options() if "compose.json" in each],
}


@pytest.mark.parametrize("name", READERS)
def test_each_damaged_state_file_counts_as_missing(name: str, damage: bytes, folder: Path) -> None:
    without = READERS[name](folder)
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(damage)
    assert READERS[name](folder) == without


def test_a_file_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "state.json" / "other").mkdir(parents=True)
    with pytest.raises(OSError, match=r"state\.json"):
        results.write(tmp_path / "state.json", "{}")
    assert [each.name for each in tmp_path.iterdir()] == ["state.json"]


def test_a_service_with_a_damaged_state_file_is_shown_and_stopped(
    damage: bytes, service: Process
) -> None:
    facts = service.facts()
    (service.folder / "note.json").write_bytes(damage)
    status = service.status()
    assert (status.state, status.url) == (State.RUNNING, None)
    assert "its state file is damaged: uv run invoke stack.restart --service teller" in (
        status.reason or ""
    )
    assert service.stop()
    assert not service.alive()
    assert liveness.ended(facts["process"])
    assert service.status().state == State.STOPPED


def test_a_service_without_a_supervisor_or_a_state_file_is_stopped(service: Process) -> None:
    facts = service.facts()
    os.kill(facts["group"], signal.SIGKILL)
    (service.folder / "note.json").unlink()
    assert service.stop()
    assert liveness.ended(facts["process"])


def test_a_checkout_is_the_first_again_if_the_file_that_names_the_first_is_damaged(
    damage: bytes, tmp_path: Path
) -> None:
    assert checkout._noted(tmp_path, "0a1b2c") == ""
    (tmp_path / checkout.FIRST).write_bytes(damage)
    assert checkout._noted(tmp_path, "0a1b2c") == ""
    assert [each.name for each in tmp_path.iterdir()] == [checkout.FIRST]
    assert (tmp_path / checkout.FIRST).read_bytes() == os.fsencode(pyproject.ROOT)


@contextmanager
def no_file_grows() -> Iterator[None]:
    """Refuse all writes to files for the length of the block, as a full disk does."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_service_whose_state_file_cannot_be_written_is_not_left_running(folder: Path) -> None:
    process = Process("teller", folder)
    with (
        no_file_grows(),
        pytest.raises(InfrastructureError, match=r"teller cannot be started: .*File too large"),
    ):
        process.run([sys.executable, "-c", SERVICE], os.environ, free_port())
    # The service holds the lock as long as it lives.
    until(lambda: 1 / (not process.alive()), limits.PROCESS)
    assert process.status().state == State.STOPPED
    assert {each.name for each in process.folder.iterdir()} == {"lock", "log"}


def test_a_server_whose_process_id_cannot_be_written_is_stopped(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    command = [sys.executable, "-c", "import signal; signal.pause()"]
    order = {"command": command, "folder": str(tmp_path), "as": {}, "patience": 5}
    with no_file_grows():
        done = programs.run(supervisor.command(order))
    assert done.returncode == errno.EFBIG
    assert not liveness.is_held(tmp_path / supervisor.LOCK)
    assert not [*tmp_path.glob("*server.pid*")]


LEASE = """
from stratakit import servers, settings
with servers.lease(settings.load(), persistent=True):
    pass
"""
STARTED = """
import os, sys
from stratakit.programs import free_port
from stratakit.stack import processes, record
service, used, damage = sys.argv[1:]
process = processes.Process("teller")
process.run([sys.executable, "-c", service], os.environ, free_port())
record.use(used)
record.file().write_bytes(bytes.fromhex(damage))
print(process.facts()["process"])
"""
KILLED = """
import os, signal, sys
import psutil
from stratakit.servers import embedded, plans
for kind in ("postgres", "redis"):
    plan = plans.plan(kind)
    server = psutil.Process(embedded._listener(plan))
    print(server.pid)
    if sys.argv[1] == "supervisor":
        server.parent().kill()
    plan.note.write_bytes(bytes.fromhex(sys.argv[2]))
"""


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scratch]:
    with Scratch(tmp_path_factory.mktemp("damaged")) as project:
        yield project


@pytest.mark.parametrize("used", record.PROCESSES)
def test_services_are_stopped_although_the_record_of_the_stack_is_damaged(
    damage: bytes, used: str, scratch: Scratch
) -> None:
    started = scratch.start(STARTED, SERVICE, used, damage.hex()).wait()
    assert started.code == 0, started.said
    assert "teller: stopped" in scratch.green("stack.down").out
    assert liveness.ended(int(started.out))
    assert not (scratch.cache / "stack" / "record.json").exists()
    (scratch.cache / "stack" / f"{used}.used").unlink()


def test_a_service_that_does_not_stop_keeps_no_other_and_no_server_up(scratch: Scratch) -> None:
    assert scratch.python(LEASE).code == 0
    started = scratch.start(STARTED, SERVICE, "embedded", DAMAGE["empty"].hex()).wait()
    stubborn = scratch.cache / "stack" / "a-stubborn"
    stubborn.mkdir()
    with (stubborn / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        outcome = scratch.invoke("stack.down")
        assert outcome.code == 2
        assert "a-stubborn does not stop" in outcome.said
        assert liveness.ended(int(started.out))
        until(lambda: 1 / (not scratch.processes()), limits.PROCESS)


@pytest.mark.parametrize("killed", ["nothing", "supervisor"])
def test_servers_with_a_damaged_file_of_their_process_id_are_found_and_stopped(
    killed: str, damage: bytes, scratch: Scratch
) -> None:
    assert scratch.python(LEASE).code == 0
    outcome = scratch.start(KILLED, killed, damage.hex()).wait()
    assert outcome.code == 0, outcome.said
    scratch.green("stack.status")
    scratch.down()
    assert all(map(liveness.ended, map(int, outcome.out.split())))


def test_a_stack_whose_state_files_are_all_empty_is_shown_repaired_and_stopped(
    scratch: Scratch,
) -> None:
    port = {f"{scratch.service.prefix}PORT": str(free_port())}
    note = scratch.cache / "stack" / scratch.service.name / "note.json"

    def empty() -> None:
        pids, first = scratch.data.glob("dev*/server.pid"), scratch.data / "checkouts" / "first"
        for file in (note, note.parents[1] / "record.json", first, *pids):
            os.truncate(file, 0)

    scratch.green("stack.up", **port)
    before = json.loads(note.read_text())
    empty()
    shown = {each["name"]: each for each in scratch.green("stack.status", "--json", **port).json}
    assert shown[scratch.service.name]["state"] == "running"
    assert shown["postgres"]["state"] == "healthy"
    scratch.green("stack.up", **port)
    assert liveness.ended(before["process"])
    after = json.loads(note.read_text())
    empty()
    assert f"{scratch.service.name}: stopped" in scratch.green("stack.down", **port).out
    assert liveness.ended(after["process"])
    scratch.down()
