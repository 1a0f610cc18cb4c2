"""The contract of exit codes: each situation, alone and combined, sequentially and in parallel."""

import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import fake_docker
import psutil
import pytest
from baking import Bakery
from project import (
    ABSENT_TIER,
    NOX,
    PATIENCE,
    Change,
    Changes,
    Outcome,
    Project,
    add_absent_tier,
    hide,
    ready,
    replace,
    until,
    write,
)

pytestmark = pytest.mark.slow
proof = pytest.mark.proof(of="outcomes")
orders = pytest.mark.parametrize(
    "order",
    [
        pytest.param((), id="in sequence"),
        pytest.param(("-j", "2"), id="side by side", marks=proof),
    ],
)

UNIT = "services/gateway/tests/unit/test_planted.py"
INTEGRATION = "services/gateway/tests/integration/test_planted.py"
KIT = "servicebase"
IN_KIT = f"libs/{KIT}/tests/unit/test_planted.py"
STRAY = "services/gateway/tests/test_stray.py"
MANIFEST = "services/gateway/pyproject.toml"
PLANTED = ("--", "-k", "planted or stray")
FAILS = "def test_fails() -> None:\n    assert 1 == 2\n"
PASSES = "def test_passes() -> None: ...\n"
STOPS_REDIS = """
import redis

def test_stops_redis(redis_url: str) -> None:
    redis.Redis.from_url(redis_url).shutdown(nosave=True)
    assert redis.Redis.from_url(redis_url).ping()
"""
RESTARTS_REDIS = """
import redis

from stratakit import servers, settings

def test_restarts_redis(redis_url: str) -> None:
    redis.Redis.from_url(redis_url).shutdown(nosave=True)
    with servers.lease(settings.load(), ("redis",)):
        assert redis.Redis.from_url(redis_url).get("written before")
"""
DIES = "import os, signal\n\ndef test_dies() -> None:\n    os.kill(os.getpid(), signal.SIGKILL)\n"
EXITS = "import os\n\ndef test_exits() -> None:\n    os._exit(1)\n"
INTERRUPTS_NOX = """
import os, signal

def test_interrupts_nox() -> None:
    os.kill(os.getppid(), signal.SIGINT)
"""
INTERRUPTED_ACTION = """
import os, signal

from stratakit.tasks.executor import task

@task()
def wait_for_ever(_):
    os.kill(os.getpid(), signal.SIGINT)

namespace = Collection(*ACTIONS, wait_for_ever)
"""
WAITS = """
import pathlib, threading

def test_waits(tmp_path: pathlib.Path) -> None:
    pathlib.Path({file!r}).touch()
    threading.Event().wait()
"""
HOLDS = """
import os, pathlib

def test_holds(tmp_path: pathlib.Path) -> None:
    (tmp_path / "used").touch()
    pathlib.Path({started!r}).write_text(f"{{os.getpid()}}")
    # A pipe, which opens once somebody opens its other end.
    pathlib.Path({end!r}).read_text()
"""
ABSENT = "tests/infrastructure/test_planted.py"
NEEDS_DOCKER = """
import pytest

from stratakit.errors import AbsentError


@pytest.fixture(scope="session")
def engine() -> None:
    raise AbsentError("no Docker engine answers", "start one", part="docker")


def test_one(engine: None) -> None: ...
def test_other(engine: None) -> None: ...


@pytest.mark.ci_skip
def test_by_hand() -> None: ...
"""
BROKEN_MIGRATION = """
revision = "planted"
down_revision = "0001"

def upgrade() -> None:
    1 / 0
"""
SOURCE = "services/gateway/src/gateway"
LOSES = """    name = "item"

    def entity(self, row):
        import dataclasses

        return dataclasses.replace(super().entity(row), note=None)
"""
"""Code that an adapter needs for a column that the domain lacks."""
NEW_COLUMN = """
import sqlalchemy as sa
from alembic import op

revision = "planted"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("items", sa.Column("note", sa.String, nullable=True))


def downgrade() -> None:
    op.drop_column("items", "note")
"""
NO_ENGINE = {"DOCKER_HOST": "unix:///nonexistent/docker.sock"}
EMBEDDED = {"STRATA_SERVERS": "embedded"}
NOBODY_THERE = {"TEST_DATABASE_URL": "postgresql://me:hush@localhost:1/x"}


ALONE = {"unit": "unit(gateway)", "integration": "integration(gateway)"}
"""Session of a tier for one package, by the session for all packages."""


@dataclass(frozen=True)
class Situation:
    """A run and its expected end."""

    name: str
    code: int
    says: str
    arguments: tuple[str, ...]
    changes: tuple[Change, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)


SITUATIONS = [
    Situation("all is well", 0, "exit 0 (passed)", ("-s", "unit")),
    Situation("a test fails", 1, "tests failed", ("-s", "unit"), (write(UNIT, FAILS),)),
    Situation(
        name="a test cannot be collected",
        code=1,
        says="tests could not be collected",
        arguments=("-s", "unit"),
        changes=(write(UNIT, "def test_(:\n"),),
    ),
    Situation(
        name="lint fails",
        code=1,
        says="a check failed",
        arguments=("-s", "static", "--", "--only", "lint"),
        changes=(write(UNIT, '"""X."""\n\nimport os\n'),),
    ),
    Situation(
        name="a migration fails",
        code=1,
        says="the migrations of gateway do not run",
        arguments=("-s", "integration"),
        changes=(write("services/gateway/migrations/versions/2099_planted.py", BROKEN_MIGRATION),),
        env=EMBEDDED,
    ),
    Situation(
        name="an adapter loses a field of the domain",
        code=1,
        says="test_every_field_is_kept_and_can_be_replaced[postgres_repository]",
        arguments=("-s", "integration", "--", "-k", "kept_and_can"),
        changes=(
            *(
                replace(f"{SOURCE}/{file}", old, f"    note: {new}\n{old}")
                for file, old, new in (
                    ("domain.py", "    quantity: int = 0\n", "str | None = None"),
                    ("domain.py", "    quantity: int\n", "str | None"),
                    ("models.py", "    quantity: Mapped[int]", "Mapped[str | None]"),
                )
            ),
            write("services/gateway/migrations/versions/2099_planted.py", NEW_COLUMN),
            replace(f"{SOURCE}/adapters/postgres.py", '    name = "item"\n', LOSES),
        ),
        env=EMBEDDED,
    ),
    Situation(
        name="a test kills its process",
        code=1,
        says="killed by signal 9",
        arguments=("-s", "unit"),
        changes=(write(UNIT, DIES),),
    ),
    Situation(
        name="a test ends its process with the code of failed tests",
        code=1,
        says="pytest ended before its tests did",
        arguments=("-s", "unit", *PLANTED),
        changes=(write(UNIT, EXITS),),
    ),
    Situation(
        name="Python is told to drop docstrings",
        code=0,
        says="exit 0 (passed)",
        arguments=("-s", "unit"),
        env={"PYTHONOPTIMIZE": "2"},
    ),
    Situation(
        name="a folder of services is not a package",
        code=3,
        says="a folder in services/ or libs/ is not a package",
        arguments=("-s", "unit"),
        changes=(write("services/notes/readme.txt", "Notes.\n"),),
    ),
    Situation(
        name="no server answers",
        code=2,
        says="TEST_DATABASE_URL=postgresql://me:***@localhost:1/x does not answer",
        arguments=("-s", "integration"),
        env=NOBODY_THERE,
    ),
    Situation(
        name="a server goes away during the run",
        code=2,
        says="redis has gone away during the run",
        arguments=("-s", "integration", "--", "-k", "test_stops_redis"),
        changes=(write(INTEGRATION, STOPS_REDIS),),
        env=EMBEDDED,
    ),
    Situation(
        name="a server goes away during the run and another run starts it again",
        code=2,
        says="redis has gone away during the run: another run has restarted it",
        arguments=("-s", "integration(gateway)", "--", "-k", "test_restarts_redis"),
        changes=(write(INTEGRATION, RESTARTS_REDIS),),
        env=EMBEDDED,
    ),
    Situation(
        name="docker is forced and there is no engine",
        code=2,
        says="no Docker engine answers",
        arguments=("-s", "integration"),
        env={"STRATA_SERVERS": "docker", **NO_ENGINE},
    ),
    Situation(
        name="there is no test of that kind",
        code=2,
        says="no test of the tier integration ran",
        arguments=("-s", "integration", "--", "-m", "e2e"),
    ),
    Situation(
        name="no test is selected",
        code=2,
        says="no test of the tier unit ran: no test was selected by -k nothing_has_this_name",
        arguments=("-s", "unit", "--", "-k", "nothing_has_this_name"),
    ),
    Situation(
        name="a tier is absent from a service",
        code=2,
        says="there is no tier load here: it needs tests in services/gateway/tests/load/",
        arguments=("-s", "load"),
        changes=(hide("services/gateway/tests/load"),),
    ),
    Situation(
        name="a tier is absent from the repository",
        code=2,
        says=f"there is no tier {ABSENT_TIER} here",
        arguments=("-s", ABSENT_TIER),
        changes=(add_absent_tier,),
    ),
    Situation(
        name="a part that some tests need is absent",
        code=0,
        says="infrastructure: ABSENT docker: no Docker engine answers; start one",
        arguments=("-s", "infrastructure", "--", ABSENT),
        changes=(write(ABSENT, NEEDS_DOCKER),),
        env={"CI": ""},
    ),
    Situation(
        name="every test lacks a part or is skipped in CI",
        code=0,
        says="infrastructure: ABSENT ci_skip: test_by_hand is not run where CI is set",
        arguments=("-s", "infrastructure", "--", ABSENT),
        changes=(write(ABSENT, NEEDS_DOCKER),),
        env={"CI": "true"},
    ),
    Situation(
        name="an absent part is required by an option",
        code=2,
        says="infrastructure: required, and absent: docker",
        arguments=("-s", "infrastructure", "--", "--require", "docker", ABSENT),
        changes=(write(ABSENT, NEEDS_DOCKER),),
    ),
    Situation(
        name="an absent part is required by the project",
        code=2,
        says="infrastructure: required, and absent: docker",
        arguments=("-s", "infrastructure", "--", ABSENT),
        changes=(
            write(ABSENT, NEEDS_DOCKER),
            replace(
                "pyproject.toml",
                "[tool.stratakit.static]",
                '[tool.stratakit.infrastructure]\nrequire = ["docker"]\n\n[tool.stratakit.static]',
            ),
        ),
    ),
    Situation(
        name="a required part is misspelt",
        code=3,
        says="did you mean docker?",
        arguments=("-s", "infrastructure", "--", "--require", "doker", ABSENT),
        changes=(write(ABSENT, NEEDS_DOCKER),),
    ),
    Situation(
        name="the packages cannot be downloaded",
        code=2,
        says="uv could not make the environment",
        arguments=("-s", "unit"),
        changes=(hide(".nox"),),
        env={"UV_OFFLINE": "1", "UV_NO_CACHE": "1"},
    ),
    Situation(
        name="a setting has a wrong value",
        code=3,
        says="STRATA_SERVERS=doker is not valid",
        arguments=("-s", "unit"),
        env={"STRATA_SERVERS": "doker"},
    ),
    Situation(
        name="a setting is not known",
        code=3,
        says="did you mean STRATA_SERVERS?",
        arguments=("-s", "unit"),
        env={"STRATA_SRVERS": "docker"},
    ),
    Situation(
        name="a setting in .env.test is not known",
        code=3,
        says="did you mean TEST_DATABASE_URL?",
        arguments=("-s", "unit"),
        changes=(write(".env.test", "TEST_DATABSE_URL=postgresql://localhost\n"),),
    ),
    Situation(
        name="the database URL is not of PostgreSQL",
        code=3,
        says="TEST_DATABASE_URL=mysql://me:***@db/x is not valid",
        arguments=("-s", "integration"),
        env={"TEST_DATABASE_URL": "mysql://me:hush@db/x"},
    ),
    Situation(
        name="a URL is forced and none is given",
        code=3,
        says="STRATA_SERVERS=url, but TEST_DATABASE_URL is not set",
        arguments=("-s", "integration"),
        env={"STRATA_SERVERS": "url"},
    ),
    Situation(
        name="the lock is missing",
        code=3,
        says="uv.lock is missing",
        arguments=("-s", "unit"),
        changes=(hide("uv.lock"),),
    ),
    Situation(
        name="the lock is stale",
        code=3,
        says="uv.lock is stale",
        arguments=("-s", "unit"),
        changes=(
            replace(
                "vendor/stratakit/pyproject.toml", '    "psycopg[', '    "six",\n    "psycopg['
            ),
        ),
    ),
    Situation(
        name="the lock is not readable",
        code=3,
        says="uv cannot read one of its files",
        arguments=("-s", "unit"),
        changes=(write("uv.lock", "version = \n"),),
    ),
    Situation("there is no such tier", 3, "There are static, unit, integration", ("-s", "bogus")),
    Situation("there is no such service", 3, "unit(bogus)", ("-s", "unit(bogus)")),
    Situation("a tier is misspelt", 3, "did you mean unit?", ("-s", "unti")),
    Situation("a service is misspelt", 3, "did you mean unit(gateway)?", ("-s", "unit(gatway)")),
    Situation(
        name="a setting of tests is misspelt in the environment",
        code=3,
        says="did you mean TEST_DATABASE_URL?",
        arguments=("-s", "unit"),
        env={"TEST_DATABSE_URL": "postgresql://localhost"},
    ),
    Situation(
        name="variables of other programs begin like our settings",
        code=0,
        says="exit 0 (passed)",
        arguments=("-s", "unit"),
        env={"TEST_FOO": "1", "TEST_DATABASE": "x", "TEST_AUTH_TOKEN": "x"},
    ),
    Situation(
        name="a key of the project is misspelt",
        code=3,
        says="did you mean destroyable_hosts?",
        arguments=("-s", "unit"),
        changes=(
            replace(
                "pyproject.toml", "[tool.stratakit]\n", "[tool.stratakit]\ndestroyble_hosts = []\n"
            ),
        ),
    ),
    Situation(
        name="a table of the project is misspelt",
        code=3,
        says="did you mean coverage?",
        arguments=("-s", "unit"),
        changes=(
            replace("pyproject.toml", "[tool.stratakit.coverage]", "[tool.stratakit.covrage]"),
        ),
    ),
    Situation(
        name="a key of static is misspelt",
        code=3,
        says="did you mean require?",
        arguments=("-s", "static", "--", "--only", "lock"),
        changes=(replace("pyproject.toml", "require = []", "requires = []"),),
    ),
    Situation(
        name="a key of a service is misspelt",
        code=3,
        says="did you mean critical?",
        arguments=("-s", "unit"),
        changes=(replace(MANIFEST, "\ncritical =", "\ncritcal ="),),
    ),
    Situation(
        name="a table of a service is misspelt",
        code=3,
        says="did you mean service?",
        arguments=("-s", "unit"),
        changes=(replace(MANIFEST, "[tool.stratakit.service]", "[tool.stratakit.servce]"),),
    ),
    Situation(
        name="a service's pyproject.toml is broken",
        code=3,
        says="services/gateway/pyproject.toml cannot be read",
        arguments=("-s", "unit"),
        changes=(write("services/gateway/pyproject.toml", "[project\n"),),
    ),
    Situation(
        name="a service lacks a key",
        code=3,
        says="lacks the key 'package'",
        arguments=("-s", "unit"),
        changes=(replace("services/gateway/pyproject.toml", "\npackage =", "\npakage ="),),
    ),
    Situation(
        name="pytest does not know an option",
        code=3,
        says="pytest was called wrongly",
        arguments=("-s", "unit", "--", "--bogus"),
    ),
    Situation(
        name="a test is in no tier's folder",
        code=3,
        says="belongs to no tier",
        arguments=("-s", "unit", "--", STRAY),
        changes=(write(STRAY, PASSES),),
    ),
    Situation(
        name="a test is in no tier's folder, and is not named",
        code=3,
        says=f"{STRAY} belongs to no tier, so nothing runs its tests",
        arguments=("-s", "integration"),
        changes=(write(STRAY, PASSES),),
    ),
    Situation(
        name="a test of the repository is in no tier's folder",
        code=3,
        says="tests/other/test_stray.py belongs to no tier, so nothing runs its tests",
        arguments=("-s", "unit"),
        changes=(write("tests/other/test_stray.py", PASSES),),
    ),
    Situation(
        name="a tier's folder contains only leftovers of a branch",
        code=2,
        says="there is no tier load here",
        arguments=("-s", "load"),
        changes=(
            hide("services/gateway/tests/load"),
            write("services/gateway/tests/load/__pycache__/locustfile.pyc", ""),
        ),
    ),
    Situation(
        name="infrastructure is worse than failures",
        code=2,
        says="does not answer",
        arguments=("-s", "unit", "integration"),
        changes=(write(UNIT, FAILS),),
        env=NOBODY_THERE,
    ),
    Situation(
        name="configuration is worse than failures and infrastructure",
        code=3,
        says="belongs to no tier",
        arguments=("-s", f"unit({KIT})", ABSENT_TIER, "cloud", "unit", *PLANTED),
        changes=(write(IN_KIT, FAILS), write(STRAY, PASSES), add_absent_tier),
    ),
]


@pytest.fixture(scope="module")
def project(bake: Bakery, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The project that all situations share; each reverts its changes."""
    return ready(bake, tmp_path_factory.mktemp("exit codes"), "Acme Exits")


@pytest.fixture
def changes(project: Project) -> Iterator[Changes]:
    """Changes to the project, reverted after the test."""
    with Changes(project) as changes:
        yield changes


@orders
@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda situation: situation.name)
def test_a_session_exits_with_the_expected_code_and_message(
    situation: Situation, order: tuple[str, ...], project: Project, changes: Changes
) -> None:
    for change in situation.changes:
        change(changes)
    # Sequentially, one package is enough; a parallel run needs several.
    words = [each if order else ALONE.get(each, each) for each in situation.arguments]
    outcome = project.nox(*order, *words, env=situation.env)
    assert outcome.code == situation.code, outcome.output
    assert situation.says in outcome.output
    assert "hush" not in outcome.output
    if outcome.summary:
        assert outcome.summary["exit_code"] == situation.code


@proof
def test_forced_docker_without_the_image_exits_with_2_and_suggests_a_pull(project: Project) -> None:
    with fake_docker.without_images() as host:
        env = {"STRATA_SERVERS": "docker", "DOCKER_HOST": host}
        outcome = project.nox("-s", "integration", env=env)
    assert outcome.code == 2, outcome.output
    assert "docker pull postgres:17-alpine" in outcome.output


@proof
def test_docker_without_the_image_falls_back_to_embedded_and_reports_it(project: Project) -> None:
    with fake_docker.without_images() as host:
        few = ("-s", "integration", "--", "-k", "kept_and_can")
        outcome = project.nox(*few, env={"DOCKER_HOST": host})
    assert outcome.code == 0, outcome.output
    assert "embedded (Docker is running, but postgres:17-alpine is not pulled" in outcome.output


@orders
def test_an_interrupt_exits_with_130_and_is_recorded_in_the_summary(
    order: tuple[str, ...], project: Project, changes: Changes, tmp_path: Path
) -> None:
    started = tmp_path / "started"
    changes.write(UNIT, WAITS.format(file=str(started)))
    # pytest's folder may be too deep for sockets; the run would then use another.
    with tempfile.TemporaryDirectory(dir="/tmp") as own:
        env = {"TMPDIR": own}
        outcome = project.interrupted(*order, "-s", "unit", env=env, when=started)
        assert not [*Path(own).glob("strata-*")]
    assert outcome.code == 130, outcome.output
    assert outcome.summary["exit_code"] == 130
    # In parallel, another part may have ended before.
    statuses = {tier["service"]: tier["status"] for tier in outcome.summary["tiers"]}
    assert statuses["gateway"] == "interrupted"
    assert set(statuses) == ({"gateway", "servicebase"} if order else {"gateway"})


def test_an_interrupt_of_nox_alone_exits_with_130_although_its_tests_pass(
    project: Project, changes: Changes
) -> None:
    changes.write(UNIT, INTERRUPTS_NOX)
    outcome = project.nox("-s", "unit(gateway)", *PLANTED)
    assert outcome.code == 130, outcome.output
    assert "exit 130 (interrupted)" in outcome.output
    assert [tier["status"] for tier in outcome.summary["tiers"]] == ["passed"]


@orders
def test_folders_of_a_killed_nox_are_removed_by_the_first_run_after_its_tests_end(
    order: tuple[str, ...], project: Project, changes: Changes, tmp_path: Path
) -> None:
    started, end = tmp_path / "started", tmp_path / "end"
    os.mkfifo(end)
    file = changes.write(UNIT, HOLDS.format(started=str(started), end=str(end)))
    with tempfile.TemporaryDirectory(dir="/tmp") as own:
        env = {**project.environment, "TMPDIR": own}
        killed = subprocess.Popen(
            [*NOX, *order, "-s", "unit"],
            cwd=project.path,
            env=env,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until(lambda: started.exists() and started.read_text())
        tests = psutil.Process(int(started.read_text()))
        # In parallel, nox has a child process for the session, which would end the tests.
        for each in psutil.Process(killed.pid).children(recursive=True):
            if each.pid != tests.pid:
                each.kill()
        killed.kill()
        killed.wait()
        file.unlink()
        # Any run will do; one without tests is the fastest.
        add_absent_tier(changes)
        assert project.nox("-s", ABSENT_TIER, env=env).code == 2
        assert [*Path(own).glob("strata-*/**/used")]
        end.write_text("")
        tests.wait(PATIENCE)
        assert project.nox("-s", ABSENT_TIER, env=env).code == 2
        assert not [*Path(own).glob("strata-*")]
    assert not [*project.path.glob("reports/.runs")]


def test_listing_the_sessions_creates_no_reports(project: Project, changes: Changes) -> None:
    changes.hide("reports")
    assert project.outcome(*NOX, "-l").code == 0
    assert not (project.path / "reports").exists()


def test_nox_inside_a_nox_session_keeps_its_own_exit_code(
    project: Project, changes: Changes, tmp_path: Path
) -> None:
    add_absent_tier(changes)
    outer = tmp_path / "noxfile.py"
    outer.write_text(
        "import nox\n\n"
        '@nox.session(venv_backend="none")\n'
        "def outer(session: nox.Session) -> None:\n"
        f'    session.run("nox", "-f", {str(project.path / "noxfile.py")!r}, "-s", {ABSENT_TIER!r},\n'
        "        success_codes=[2], external=True)\n",
        encoding="utf-8",
    )
    outcome = project.outcome("nox", "-f", str(outer))
    assert outcome.code == 0, outcome.output
    assert outcome.summary["exit_code"] == 2


def test_a_failed_session_that_is_not_a_tier_is_reported_by_name(
    project: Project, changes: Changes
) -> None:
    changes.replace(
        "noxfile.py",
        'if __name__ == "__main__":',
        "@nox.session(default=False)\ndef page(session: nox.Session) -> None:\n"
        '    session.error("it is empty")\n\n\nif __name__ == "__main__":',
    )
    outcome = project.outcome(*NOX, "-s", "static", "page", "--", "--only", "lock")
    assert outcome.code == 1, outcome.output
    assert "page: failed, and is not a tier: see its output above\n" in outcome.output
    assert "exit 1 (failures)" in outcome.output
    assert outcome.summary["exit_code"] == 1
    assert [tier["status"] for tier in outcome.summary["tiers"]] == ["passed"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("graph --format bogus", "'table', 'json' or 'mermaid'"),
        ("stack.logs --lines many", "--lines 'many' is not valid"),
        ("stack.upp", "there is no action 'stack.upp'\n  hint: did you mean stack.up?"),
        ("graph stak.up", "did you mean stack.up?"),
        ("--help stack.upp", "did you mean stack.up?"),
        ("--list stak", "there is no group of actions 'stak'\n  hint: did you mean stack?"),
        (
            "stack.logs --servce x",
            "stack.logs has no flag --servce\n  hint: did you mean --service?",
        ),
        (
            "stack.clean --dry-rum",
            "stack.clean has no flag --dry-rum\n  hint: did you mean --dry-run?",
        ),
        ("--dry stack.clean --yes", "--dry stops only shell commands, not what stack.clean does"),
        ("--lst", "invoke has no flag --lst\n  hint: did you mean --list?"),
        ("stack.logs --lines", "Flag --lines needed value"),
        ("db.restore", "did not receive required positional arguments: 'name'"),
    ],
)
def test_a_mistyped_invoke_command_is_refused_with_a_hint(
    words: str, says: str, project: Project
) -> None:
    bad = project.outcome("uv", "run", "invoke", *words.split())
    assert bad.code == 3, bad.output
    assert says in bad.output
    assert "\n  hint: " in bad.output
    assert "Traceback" not in bad.output


def test_invokes_own_help_and_completion_work(project: Project) -> None:
    for words in ("--help", "--list db", "--help stack.up", "stack.up --help", "--version"):
        shown = project.outcome("uv", "run", "invoke", *words.split())
        assert shown.code == 0, shown.output
        if words.startswith("--help "):
            # Of each flag, and not only its name.
            assert "print JSON" in shown.output
    names = project.outcome("uv", "run", "invoke", "--complete", "--", "invoke", "stak")
    assert "stack.up" in names.output.split()


def test_an_action_with_a_broken_uv_exits_with_2(project: Project) -> None:
    broken = project.outcome(".venv/bin/invoke", "setup", env={"UV": "/bin/false"})
    assert broken.code == 2, broken.output


@pytest.mark.parametrize(
    ("words", "unbuffered", "code"),
    [
        # Cut short in the middle, or at Python's last flush, after all is done.
        ("--list", "1", 141),
        ("service.list --json", "1", 141),
        ("service.list --json", "", 0),
    ],
)
def test_an_action_ends_quietly_if_nobody_reads_its_output(
    words: str, unbuffered: str, code: int, project: Project
) -> None:
    env = {"PYTHONUNBUFFERED": unbuffered}
    done = unread(project, ".venv/bin/invoke", *words.split(), env=env)
    assert done.code == code, done.output
    assert "Broken pipe" not in done.output
    assert "Traceback" not in done.output


@pytest.mark.parametrize(
    ("words", "code", "says", "change", "env"),
    [
        (
            "stack.down",
            3,
            ".env cannot be read: line 3 is not NAME=value",
            write(".env", "A=1\n\nB='hush\n"),
            EMBEDDED,
        ),
        ("setup", 3, ".env cannot be read: [Errno 21]", write(".env/hidden", ""), EMBEDDED),
        (
            "stack.up",
            2,
            "infrastructure: no Docker engine answers at unix:///nonexistent/docker.sock\n",
            write(".env", ""),
            {"STRATA_SERVERS": "docker", **NO_ENGINE},
        ),
    ],
)
def test_an_action_reports_what_is_wrong_around_it(
    words: str,
    code: int,
    says: str,
    change: Change,
    env: Mapping[str, str],
    project: Project,
    changes: Changes,
) -> None:
    change(changes)
    outcome = project.outcome(".venv/bin/invoke", words, env=env)
    assert outcome.code == code, outcome.output
    assert says in outcome.output
    assert "hush" not in outcome.output


def test_an_interrupted_action_exits_with_130(project: Project, changes: Changes) -> None:
    changes.replace("tasks.py", "namespace = Collection(*ACTIONS)", INTERRUPTED_ACTION)
    outcome = project.outcome(".venv/bin/invoke", "wait-for-ever")
    assert outcome.code == 130, outcome.output
    assert outcome.output == "interrupted\n"


def test_the_exit_code_of_a_run_stays_the_same_if_nobody_reads_its_json(project: Project) -> None:
    words = (*NOX, "-s", "unit(gateway)", "--", "--output", "json")
    done = unread(project, *words, env={"STRATA_SERVERS": "doker"})
    assert done.code == 3, done.output
    assert "exit 3 (configuration" in done.output
    assert "Traceback" not in done.output


def unread(project: Project, *command: str, env: Mapping[str, str]) -> Outcome:
    """Run a command whose standard output has no reader; the outcome has its standard error."""
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        command,
        cwd=project.path,
        env={**project.environment, **env},
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writer)
    return Outcome(done.returncode, done.stderr, project.summary())


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ("invoke graph >&-", 0, ""),
        ("invoke graph <&- >&- 2>&-", 0, ""),
        ("invoke stack.clean <&-", 3, "standard input is not a terminal\n  hint: pass --yes"),
        ("python -m stratakit.doctor --tier static --json >&-", 0, ""),
    ],
)
def test_a_command_works_with_closed_standard_streams(
    words: str, code: int, says: str, project: Project
) -> None:
    done = project.outcome("bash", "-c", f".venv/bin/{words}", env=EMBEDDED)
    assert done.code == code, done.output
    assert says in done.output
    assert "Traceback" not in done.output
