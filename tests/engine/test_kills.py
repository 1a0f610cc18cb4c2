"""Kills of every process at any moment, after which the next run passes and nothing is left."""

import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from stratakit import tiers
from stratakit.errors import AbsentError
from stratakit.servers.waiting import until

from .scratch import INVOKE, PYTEST, Command, Scratch

POINTS = 4
"""Moments at which each action is killed, spread over its statements."""
STATEMENTS = """
import os, signal, psycopg
until, within = int(os.environ["STOP_AT"]), os.environ["STOP_WITHIN"] == "yes"
done, execute = 0, psycopg.Cursor.execute

def watched(*arguments, **options):
    global done
    done += 1
    if done == until and not within:
        os.kill(os.getpid(), signal.SIGKILL)
    if done == until:
        # No handler is set, so that the kernel ends the process while it waits for an answer.
        signal.setitimer(signal.ITIMER_REAL, 0.002)
    return execute(*arguments, **options)

psycopg.Cursor.execute = watched
try:
    from invoke.main import program
    program.run()
finally:
    signal.setitimer(signal.ITIMER_REAL, 0)
    print("STATEMENTS", done)
"""
BEFORE = {
    "db.setup": ("db.drop --yes",),
    "db.create": ("db.drop --yes",),
    "db.migrate": ("db.drop --yes", "db.create"),
    "db.drop --yes": ("db.setup",),
    "db.reset --yes": (),
    "db.clean --yes": (),
    "db.rollback --yes": (),
    "db.seed": (),
    "db.snapshot kept": (),
    "db.restore kept --yes": ("db.snapshot kept",),
    "db.gc": (),
}
"""Steps that give an action something to do."""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scratch]:
    with Scratch(tmp_path_factory.mktemp("kills")) as scratch:
        scratch.green("db")
        yield scratch


def names(project: Scratch) -> list[str]:
    """Return the databases on the project's server."""
    outcome = project.python("""
from stratakit import servers, settings
from stratakit.database import connect, runs
with servers.lease(settings.load(), ("postgres",)) as up, connect(up["postgres"].url) as connection:
    print("\\n".join(runs.databases(connection)))
""")
    assert outcome.code == 0, outcome.said
    return outcome.out.split()


def expect_health(project: Scratch) -> None:
    project.green("db.setup")
    found = project.status()
    assert found["current"], found
    assert found["stamp"] == "test"
    project.green("db.reset", "--yes")
    project.green("db.gc")
    assert not left_by_runs(project)


def left_by_runs(project: Scratch) -> list[str]:
    """Return the databases that belong to test runs."""
    of_runs = re.compile(rf"{project.name}_([0-9a-f]{{8}}_|kept_)")
    return [name for name in names(project) if of_runs.match(name)]


@pytest.mark.parametrize("action", BEFORE)
def test_setup_repairs_a_database_after_an_action_was_killed_at_any_moment(
    action: str, project: Scratch
) -> None:
    words = action.split()

    def prepare() -> None:
        for each in ("db.setup", *BEFORE[action]):
            project.green(*each.split())

    # Run it once before, so that one-time work, such as building a template, is not counted.
    prepare()
    project.green(*words)
    prepare()
    whole = project.start(STATEMENTS, *words, STOP_AT="-1", STOP_WITHIN="no").wait()
    assert whole.code == 0, whole.said
    (count,) = re.findall(r"STATEMENTS (\d+)", whole.out)
    codes = []
    for point in range(POINTS):
        number = 1 + point * (int(count) - 1) // (POINTS - 1)
        prepare()
        within = "yes" if point % 2 else "no"
        killed = project.start(STATEMENTS, *words, STOP_AT=str(number), STOP_WITHIN=within).wait()
        codes.append(killed.code)
        project.green("db.setup")
        found = project.status()
        assert found["current"], (number, found)
        assert found["stamp"] == "test", (number, found)
    # A statement may end before the kill that is meant to hit its middle.
    assert set(codes) <= {-signal.SIGKILL, -signal.SIGALRM, 0}
    assert codes.count(-signal.SIGKILL) == POINTS // 2


TEST = """
import pathlib, signal, sys
import psycopg, redis

def dsn(url):
    return url.replace("+asyncpg", "")

def test_it(postgres_url, clone_url, redis_url):
    with psycopg.connect(dsn(postgres_url), autocommit=True) as connection:
        assert connection.execute("SELECT count(*) FROM made").fetchone() == (0,)
        connection.execute("INSERT INTO made VALUES (1)")
    with psycopg.connect(dsn(clone_url), autocommit=True) as connection:
        connection.execute("CREATE TABLE another (id int)")
    with redis.Redis.from_url(redis_url) as keys:
        # The marker of the run, and nothing that another has left.
        assert keys.keys() == [b"strata:owner"]
        keys.set("left", "behind")
    marker = pathlib.Path(__file__).with_suffix(".marker")
    if marker.with_suffix(".block").exists():
        marker.touch()
        signal.pause()
"""
TIER = ("--tier", tiers.INTEGRATION)
"""Variables as nox sets them: servers start, and databases are copied, during collection."""
COLLECTED = {
    "by an error": ("1 / 0", pytest.ExitCode.INTERRUPTED),
    "by Ctrl-C": ("raise KeyboardInterrupt", pytest.ExitCode.INTERRUPTED),
    "by a kill": ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL),
}
"""Ways to end a run during collection, and their exit codes."""
MIGRATION = '''
"""Make a table."""

from alembic import op

revision, down_revision = "{revision}", "{after}"
branch_labels = depends_on = None


def upgrade() -> None:
    op.execute("CREATE TABLE {table} (id int PRIMARY KEY)")


def downgrade() -> None:
    op.execute("DROP TABLE {table}")
'''


def head(project: Scratch) -> str:
    found: str = project.status()["head"]
    return found


def branch(project: Scratch, revision: str, table: str, after: str) -> None:
    """Write a migration."""
    text = MIGRATION.format(revision=revision, table=table, after=after)
    (project.migrations / f"{revision}.py").write_text(text)


@pytest.fixture(scope="module")
def tested(project: Scratch) -> Scratch:
    """The project with a test that holds every resource that a test can have."""
    branch(project, "made", "made", head(project))
    (project.tests / "test_it.py").write_text(TEST)
    return project


@pytest.fixture(
    params=[(), TIER, ("-n", "2")], ids=["plain", "prepared during collection", "with workers"]
)
def blocked(request: pytest.FixtureRequest, tested: Scratch) -> Command:
    """A run of tests that is blocked in the middle of one."""
    block, marker = (tested.tests / f"test_it.{name}" for name in ("block", "marker"))
    block.touch()
    run = tested.start(PYTEST, *request.param, str(tested.tests))
    try:
        until(marker.stat, 60)
    finally:
        block.unlink()
        marker.unlink(missing_ok=True)
    return run


def expect_green_tests(project: Scratch) -> None:
    outcome = project.pytest(str(project.tests))
    assert outcome.code == 0, outcome.said
    expect_health(project)


def test_the_run_after_a_killed_one_passes_and_leaves_nothing(
    tested: Scratch, blocked: Command
) -> None:
    os.kill(blocked.pid, signal.SIGKILL)
    assert blocked.wait().code == -signal.SIGKILL
    expect_green_tests(tested)
    tested.down()


@pytest.mark.parametrize("way", COLLECTED)
def test_a_run_ended_during_collection_leaves_nothing_after_the_next(
    way: str, tested: Scratch
) -> None:
    code, exit_code = COLLECTED[way]
    end = tested.tests / "test_end.py"
    end.write_text(code)
    outcome = tested.pytest(*TIER, str(tested.tests))
    end.unlink()
    assert outcome.code == exit_code, outcome.said
    if exit_code > 0:
        assert not left_by_runs(tested)
    expect_green_tests(tested)
    tested.down()


def server_of(project: Scratch) -> int:
    """Return the process of the project's PostgreSQL server."""
    (file,) = project.cache.glob("pg-*/server.pid")
    return int(file.read_text())


def parent_of(pid: int) -> int:
    return psutil.Process(pid).ppid()


KILLED: dict[str, Callable[[int], list[int]]] = {
    "the server": lambda server: [server],
    "its supervisor": lambda server: [parent_of(server)],
    "both, the supervisor first": lambda server: [parent_of(server), server],
    "both, the server first": lambda server: [parent_of(server), server][::-1],
}


@pytest.mark.parametrize("victims", KILLED)
def test_a_killed_server_is_restarted_by_the_next_action(victims: str, project: Scratch) -> None:
    project.green("db")
    for pid in KILLED[victims](server_of(project)):
        # A supervisor ends by itself when its server does.
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    expect_health(project)
    project.down()


def test_a_server_killed_during_a_test_run_is_restarted_by_the_next_run(tested: Scratch) -> None:
    block, marker = (tested.tests / f"test_it.{name}" for name in ("block", "marker"))
    block.touch()
    run = tested.start(PYTEST, str(tested.tests))
    until(marker.stat, 60)
    os.kill(server_of(tested), signal.SIGKILL)
    block.unlink()
    marker.unlink()
    expect_green_tests(tested)
    os.kill(run.pid, signal.SIGKILL)
    run.wait()


COLD_START = """
import os, pathlib, subprocess
import psycopg
from stratakit import servers, settings

run = subprocess.run

def counted(command, *arguments, **options):
    if command[0].endswith("initdb"):
        pathlib.Path(os.environ["COUNT"], str(os.getpid())).touch()
    return run(command, *arguments, **options)

subprocess.run = counted
with servers.lease(settings.load()) as up, psycopg.connect(up["postgres"].url) as connection:
    print(connection.execute("SELECT system_identifier FROM pg_control_system()").fetchone()[0])
"""


def cold(tmp_path: Path) -> Scratch:
    return Scratch(tmp_path / "cold")


def test_eight_concurrent_cold_starts_create_one_server(tmp_path: Path) -> None:
    count = tmp_path / "count"
    count.mkdir()
    with cold(tmp_path) as project:
        runs = [project.start(COLD_START, COUNT=str(count)) for _ in range(8)]
        outcomes = [run.wait() for run in runs]
        assert [each.code for each in outcomes] == [0] * 8, outcomes
        assert len({each.out for each in outcomes}) == 1
        assert len(list(count.iterdir())) == 1

        # Kill it while it initialises a server's data, and while it copies the programs.
        for left in ("store/init", "programs.new"):
            project.down()
            for home in project.cache.glob("pg-*"):
                subprocess.run(["rm", "-r", str(home)], check=True)
            run = project.start(INVOKE, "db")

            def seen(left: str = left) -> None:
                assert list(project.cache.glob(f"pg-*/{left}"))

            until(seen, 30)
            os.kill(run.pid, signal.SIGKILL)
            run.wait()
            project.green("db")
            seen_again = list(project.cache.glob(f"pg-*/{left}"))
            assert not seen_again


def test_concurrent_branches_with_different_migrations_get_a_template_each(tmp_path: Path) -> None:
    with (
        Scratch(tmp_path / "one") as one,
        closing(Scratch(tmp_path / "other", one.name)) as other,
    ):
        parent = head(one)
        for project, revision in ((one, "one"), (other, "other")):
            branch(project, revision, "made", parent)
            (project.tests / "test_it.py").write_text(TEST)
        branch(other, "more", "more", "other")
        runs = [project.start(PYTEST, str(project.tests)) for project in (one, other, one, other)]
        outcomes = [run.wait() for run in runs]
        assert [each.code for each in outcomes] == [0] * 4, outcomes
        templates = [name for name in names(one) if name.startswith(f"{one.name}_tpl_")]
        assert len(templates) == 2


LIMITED = (
    """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
"""
    + INVOKE
)


def test_a_file_size_limit_is_reported_as_an_infrastructure_error(tmp_path: Path) -> None:
    with cold(tmp_path) as project:
        outcome = project.start(LIMITED, "db").wait()
        assert outcome.code == 2, outcome.said
        assert "File too large" in outcome.said
        project.green("db")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[Path, int], None]]:
    """Mount a disk of some megabytes on a folder; only root may do so."""
    mounted: list[Path] = []

    def mount(folder: Path, megabytes: int) -> None:
        if os.geteuid():
            # The test with RLIMIT_FSIZE runs for every user.
            raise AbsentError("only root may mount a small disk", part="root")
        owner = folder.stat()
        size = f"size={megabytes}m,mode=700,uid={owner.st_uid},gid={owner.st_gid}"
        subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(folder)], check=True)
        mounted.append(folder)

    yield mount
    for folder in filter(os.path.ismount, mounted):
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.parametrize(("megabytes", "what"), [(5, "initdb"), (60, "a copy of a database")])
def test_a_full_disk_is_reported_as_an_infrastructure_error(
    megabytes: int, what: str, tmp_path: Path, small_disk: Callable[[Path, int], None]
) -> None:
    with cold(tmp_path) as project:
        project.green("db")
        project.down()
        (home,) = project.cache.glob("pg-*")
        store = home / "store"
        for child in store.iterdir():
            subprocess.run(["rm", "-r", str(child)], check=True)
        small_disk(store, megabytes)
        outcome = project.invoke("db")
        # Fill the disk: each snapshot takes some megabytes.
        for number in range(9):
            if outcome.code == 0:
                outcome = project.invoke("db.snapshot", str(number))
        assert outcome.code == 2, outcome.said
        assert "No space left" in outcome.said
        project.down()
        subprocess.run(["umount", str(store)], check=True)
        project.green("db")
