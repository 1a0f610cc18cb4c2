"""Waits that would never end: each has a timeout, whose error names the cause."""

import fcntl
import os
import re
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import psycopg
import pytest

from stratakit import database, redis_databases, limits, names, programs, servers, settings
from stratakit.errors import InfrastructureError
from stratakit.servers.waiting import until
from stratakit.testing.databases import ClonePool

from .scratch import Scratch

IMPATIENT = """
from stratakit import limits
limits.SERVER_START, limits.ANSWER, limits.LEASE, limits.START = 1, 1, 1, 1
from invoke.main import program
program.run()
"""
"""An action that waits one second for a server, instead of as long as a slow disk may take."""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scratch]:
    with Scratch(tmp_path_factory.mktemp("waits")) as scratch:
        scratch.green("db")
        yield scratch


@pytest.fixture
def home(project: Scratch) -> Path:
    """Folder of its running PostgreSQL."""
    project.green("db")
    (found,) = project.cache.glob("pg-*")
    return found


@pytest.fixture
def silent() -> Iterator[int]:
    """Port of a listener that accepts connections and never responds."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def server_of(home: Path) -> int:
    return int((home / "server.pid").read_text())


def take_all(stack: ExitStack, where: str) -> None:
    while True:
        stack.enter_context(psycopg.connect(where))


def test_a_server_out_of_connections_is_reported_with_the_databases_that_hold_them(
    project: Scratch, home: Path
) -> None:
    with ExitStack() as stack:
        where = f"host={home}/store user=postgres dbname={project.database}"
        with pytest.raises(psycopg.OperationalError, match="too many clients"):
            take_all(stack, where)
        outcome = project.start(IMPATIENT, "db").wait()
        assert outcome.code == 2, outcome.said
        assert "the embedded postgres is up (process" in outcome.said
        assert "too many clients" in outcome.said
        assert re.search(rf"taken by: .*{project.database} \(\d+\)", outcome.said), outcome.said
        assert f"kill -INT {server_of(home)}" in outcome.said
    project.green("db")


def test_stack_status_reports_that_a_full_postgres_refuses_connections(project: Scratch) -> None:
    project.green("db.setup", "--database", "dev")
    with ExitStack() as stack:
        with pytest.raises(psycopg.OperationalError, match="too many clients"):
            take_all(stack, f"host={project.data}/dev/store user=postgres dbname=postgres")
        status = project.invoke("stack.status")
        assert re.search("postgres +running .*refuses connections", status.out), status.said


def test_a_halted_server_process_is_reported_with_the_command_that_resumes_it(
    project: Scratch, home: Path
) -> None:
    number = server_of(home)
    os.kill(number, signal.SIGSTOP)
    try:
        outcome = project.start(IMPATIENT, "db").wait()
    finally:
        os.kill(number, signal.SIGCONT)
    assert outcome.code == 2, outcome.said
    assert f"(process {number}, which is halted) but refuses connections" in outcome.said
    assert f"hint: kill -CONT {number}" in outcome.said
    project.green("db")


@pytest.mark.parametrize(
    ("lock", "how", "says"),
    [
        ("start.lock", "4711", "the process 4711 starts the embedded postgres, and does not end"),
        ("start.lock", "", "another process starts the embedded postgres, and does not end"),
        ("lease", "", "is being stopped, and does not end"),
    ],
)
def test_a_lock_timeout_of_the_embedded_server_names_the_start_or_stop_it_waits_for(
    lock: str, how: str, says: str, project: Scratch, home: Path
) -> None:
    # The running server's supervisor waits for the lease as well, and would get it first.
    supervisor = psutil.Process(server_of(home)).ppid()
    os.kill(supervisor, signal.SIGSTOP)
    try:
        with (home / lock).open("r+") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            held.truncate(0)
            held.write(how)
            held.flush()
            outcome = project.start(IMPATIENT, "db").wait()
    finally:
        os.kill(supervisor, signal.SIGCONT)
    assert outcome.code == 2, outcome.said
    assert says in outcome.said
    assert "waited for 1 s" in outcome.said
    project.green("db")


STUBBORN = """
import signal, subprocess, sys
from stratakit.servers import supervisor
children = []

class Stubborn(subprocess.Popen):
    def __init__(self, command, **options):
        code = "import signal; [signal.signal(n, signal.SIG_IGN) for n in (2, 3)]; signal.pause()"
        super().__init__([sys.executable, "-c", code], **options)
        children.append(self)

supervisor.subprocess.Popen = Stubborn
import os, pathlib
home = pathlib.Path(sys.argv[1])
(home / "store").mkdir(parents=True)
(home / "lease").touch()
supervisor.supervise({"command": ["x"], "as": {}, "patience": 0.2}, home, open(os.devnull, "w"))
"""


def test_a_server_that_ignores_its_signals_is_killed_by_its_supervisor(tmp_path: Path) -> None:
    done = programs.run([sys.executable, "-c", STUBBORN, str(tmp_path / "home")])
    assert done.returncode == 0, done.stderr
    number = int((tmp_path / "home" / "server.pid").read_text())
    until(lambda: None if not psutil.pid_exists(number) else 1 / 0, 10)


HANGING = """
import http.server, os, sys, threading
from stratakit import limits
limits.COMMAND = limits.ENGINE_STEP = 0.5
from stratakit.errors import InfrastructureError
from stratakit.servers import compose

class Engine(http.server.BaseHTTPRequestHandler):
    # It answers twice, when it is looked for and asked; then perhaps no more.
    answers = 2 if "dies" in sys.argv else 1000

    def do_GET(self):
        Engine.answers -= 1
        self.send_response(200 if Engine.answers >= 0 else 500)
        body = b'{"ApiVersion": "1.44", "MinAPIVersion": "1.24"}'
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass

engine = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Engine)
threading.Thread(target=engine.serve_forever, daemon=True).start()
os.environ["DOCKER_HOST"] = f"tcp://127.0.0.1:{engine.server_port}"
try:
    compose.run("ps")
except InfrastructureError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("engine", "says"),
    [
        ("lives", "docker compose ps did not finish within 0.5 s and was stopped"),
        ("dies", "no Docker engine answers at tcp://127.0.0.1:"),
    ],
)
def test_a_hanging_docker_compose_is_stopped_and_a_dead_engine_is_reported(
    engine: str, says: str, project: Scratch, tmp_path: Path
) -> None:
    program = tmp_path / "docker"
    program.write_text("#!/bin/sh\nexec sleep 600\n")
    program.chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    outcome = project.start(HANGING, engine, PATH=path).wait()
    assert outcome.code == 0, outcome.said
    assert says in outcome.out, outcome.said


def test_a_program_that_exceeds_its_timeout_is_killed_and_named_in_the_error() -> None:
    before = {*psutil.Process().children()}
    with pytest.raises(
        InfrastructureError, match=r"`sleep 600` did not finish within 0\.1 s"
    ) as told:
        programs.run(["sleep", "600"], 0.1)
    assert told.value.hint == "see what it waits for: sleep 600"
    assert {*psutil.Process().children()} <= before


def test_connecting_to_a_silent_postgres_times_out(
    silent: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "CONNECT", 2)  # A number, not code; libpq's minimum.
    with pytest.raises(InfrastructureError, match="timeout expired"):
        database.connect(f"postgresql://me@127.0.0.1:{silent}/x")


def test_claiming_a_database_of_a_silent_redis_times_out(
    silent: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "KEYS", 0.1)  # A number, not code.
    with (
        pytest.raises(InfrastructureError, match="Timeout"),
        redis_databases.claim(f"redis://127.0.0.1:{silent}"),
    ):
        pass


def test_taking_a_clone_fails_within_the_timeout_if_its_template_is_in_use(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "LOCK", 0.1)  # A number, not code.
    with servers.lease(settings.load(), ("postgres",)) as up:
        address = up["postgres"].url
        with database.connect(address) as maintenance, database.run(address) as run:
            source = names.database(run, "source")
            database.runs.create(maintenance, source)
            # The worker's own pool may have one as well, which ends with the worker.
            others = {*threading.enumerate()}
            # A template with an open connection cannot be copied; PostgreSQL waits for it to close.
            with database.connect(address, source):
                with (
                    ClonePool(address, source, run, "x") as spares,
                    pytest.raises(
                        (InfrastructureError, psycopg.Error), match=r"no copy|being accessed"
                    ),
                ):
                    spares.take()
                for thread in {*threading.enumerate()} - others:
                    if thread.name == "clone-pool":
                        thread.join()
