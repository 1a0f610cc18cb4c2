"""Servers in an unexpected state, and machines unlike this one."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from stratakit import settings
from stratakit.errors import InfrastructureError
from stratakit.servers import embedded, external
from stratakit.settings import Settings
from stratakit.tasks.project import _servers

from .scratch import Scratch

WITHOUT_UNIX_MODULES = """
import os, sys
sys.modules.update(dict.fromkeys(("fcntl", "grp", "pwd")))
del os.geteuid
import stratakit.servers, stratakit.stack
from stratakit.servers import home
home.cache()
"""
ON_HOST_NAMED_STACK = """
import socket
from stratakit import redis_databases, servers, settings
with servers.lease(settings.load(), ("redis",)) as up:
    server = up["redis"].url
    number = redis_databases.reserve(server)
    socket.gethostname = lambda: "stack"
    with redis_databases.claim(server) as mine:
        assert not mine.url.endswith(f"db={number}"), mine.url
    assert redis_databases.reserve(server) == number
    assert redis_databases.free(server) is None
"""
WITHOUT_SUPERVISOR = """
import psutil
from stratakit import limits, servers, settings
from stratakit.errors import InfrastructureError
from stratakit.servers import embedded, plans
from stratakit.servers.waiting import until

def lease():
    with servers.lease(settings.load(), ("redis",), persistent=True):
        pass

def lost():
    assert not embedded._supervised(plan)

lease()
plan = plans.plan("redis")
note = plan.home / "server.pid"
server = psutil.Process(int(note.read_text()))
server.parent().kill()
until(lost, 10)
limits.SERVER_STOP = 0.1
server.suspend()
try:
    lease()
except InfrastructureError as error:
    print(error)
print(server.pid)
server.kill()
"""
WITH_HELD_LOCK = """
import fcntl, os
from stratakit import limits
from stratakit.errors import InfrastructureError
from stratakit.servers import supervisor
from stratakit.stack import processes

limits.PROCESS = 0.1
it = processes.Process("teller")
it.folder.mkdir()
fcntl.flock(os.open(it.folder / supervisor.SERVICE_LOCK, os.O_RDWR | os.O_CREAT), fcntl.LOCK_EX)
facts = {"process": 2**30, "group": 2**30, "port": 1, "started": 0.0}
supervisor.note(it.folder, facts)
try:
    it.stop()
except InfrastructureError as error:
    print(error)
"""


def test_servers_and_stack_can_be_imported_without_the_unix_modules() -> None:
    command = [sys.executable, "-c", WITHOUT_UNIX_MODULES]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("driver", ["", "+asyncpg", "+psycopg", "+psycopg2"])
def test_a_driver_in_the_database_url_is_removed(
    driver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rest = "://me:a+b@localhost/x"
    monkeypatch.setenv("TEST_DATABASE_URL", f"postgresql{driver}{rest}")
    assert external.given(Settings(), "postgres") == f"postgresql{rest}"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scratch]:
    with Scratch(tmp_path_factory.mktemp("servers")) as scratch:
        yield scratch


def test_a_run_on_a_host_named_stack_does_not_take_the_redis_database_of_the_stack(
    project: Scratch,
) -> None:
    outcome = project.python(ON_HOST_NAMED_STACK)
    assert outcome.code == 0, outcome.said


@pytest.mark.parametrize("left", ["", "\0\0\0"], ids=["empty", "zeros"])
def test_a_server_starts_despite_an_unreadable_postmaster_pid_file(
    left: str, project: Scratch
) -> None:
    project.green("db")
    project.down()
    (data,) = project.cache.glob("pg-*/store/data")
    (data / "postmaster.pid").write_text(left)
    project.green("db")


def test_a_server_that_does_not_stop_is_named(project: Scratch) -> None:
    outcome = project.python(WITHOUT_SUPERVISOR)
    told, _, number = outcome.out.strip().rpartition("\n")
    assert "the embedded redis has lost its supervisor and does not stop" in told, outcome
    assert f"hint: end it: kill -KILL {number}" in told


def test_a_service_that_does_not_stop_is_named(project: Scratch) -> None:
    outcome = project.python(WITH_HELD_LOCK)
    assert "teller does not stop\n  hint: end what holds its lock: lsof /" in outcome.out, outcome


def test_a_user_without_a_passwd_entry_is_refused_before_initdb_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 54_321)
    why = "the user 54321 has no entry in /etc/passwd, without which initdb refuses them"
    assert embedded.refusal("postgres") == why
    assert embedded.refusal("redis") is None
    with (
        pytest.raises(InfrastructureError, match=why) as told,
        embedded.lease("postgres", settings.load()),
    ):
        pass
    assert "-v /etc/passwd:/etc/passwd:ro" in str(told.value)
    # `invoke setup` continues without a server, and prints the same reason.
    monkeypatch.setenv("STRATA_SERVERS", "embedded")
    assert _servers() == f"left to you: {told.value}"
