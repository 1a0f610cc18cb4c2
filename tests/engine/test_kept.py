"""The data of `dev`: its durable server, and databases taken over from an older stack."""

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
from stratakit.servers import binaries

from .scratch import INVOKE, Scratch

SETTINGS = "SELECT name, setting FROM pg_settings WHERE name = ANY (%s)"
DURABLE = {"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on", "autovacuum": "on"}
PRINT_URL = """
from stratakit import servers, settings
with servers.lease(settings.load(), ("postgres",), kept={kept}) as up: print(up["postgres"].url)
"""
REDIS_COMMAND = """
import redis
from stratakit import redis_databases, servers, settings
with servers.lease(settings.load(), ("redis",), kept={kept}) as up:
    own = redis.Redis.from_url(up["redis"].url, db=redis_databases.reserve(up["redis"].url))
    print(*own.execute_command(*{command!r}.split()))
"""
KILL = """
    import os, signal
    from stratakit.servers import plans
    os.kill(int(plans.plan("redis", kept=True).note.read_text()), signal.SIGKILL)
"""
MAKE_OLD_STACK = """
import sys
from stratakit import names, servers, settings
from stratakit.database import connect, lifecycle, stamps
from stratakit.project import services
service = services()[0]
with servers.lease(settings.load(), ("postgres",)) as up:
    it = lifecycle.Database(up["postgres"], service)
    it.setup()
    with connect(up["postgres"].url, it.name) as own:
        own.execute("CREATE TABLE precious AS SELECT 42 AS answer")
    old = names.named(service.name, "stack", "")
    with connect(up["postgres"].url) as admin:
        for said in (stamps.STAMP, stamps.OWNER):
            admin.execute(f'ALTER DATABASE "{it.name}" RESET {said}')
        admin.execute(f"ALTER DATABASE {it.name} SET ops.environment = '{sys.argv[1]}'")
        admin.execute(f"ALTER DATABASE {it.name} SET ops.owner = '{it.owner}'")
        admin.execute(f'ALTER DATABASE "{it.name}" RENAME TO "{old}"')
"""
LIST_DATABASES = """
from stratakit import servers, settings
from stratakit.database import connect, runs
with servers.lease(settings.load(), ("postgres",)) as up, connect(up["postgres"].url) as admin:
    print(*runs.databases(admin))
"""


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Scratch]:
    with Scratch(tmp_path) as scratch:
        scratch.purpose = "dev"
        yield scratch


def address(project: Scratch, *, kept: bool = True) -> str:
    outcome = project.python(PRINT_URL.format(kept=kept))
    assert outcome.code == 0, outcome.said
    return outcome.out.strip()


def asked(project: Scratch, query: str) -> str:
    """Return psql's output for a query, on the database that actions are about."""
    file = project.root / "query.sql"
    file.write_text(query)
    shell = "import os, sys; os.dup2(os.open('query.sql', os.O_RDONLY), 0)\n"
    code = f"{shell}from invoke.main import program; program.run()"
    outcome = project.start(code, "db.shell").wait()
    assert outcome.code == 0, outcome.said
    return outcome.out


def test_dev_is_durable_in_the_data_folder_and_the_server_of_tests_is_fast(
    project: Scratch,
) -> None:
    project.green("db.setup")
    project.green("db.setup", "--database", "test")
    for kept in (True, False):
        with psycopg.connect(address(project, kept=kept)) as connection:
            found = dict(connection.execute(SETTINGS, ([*DURABLE],)).fetchall())
        assert found == (DURABLE if kept else dict.fromkeys(DURABLE, "off"))
    assert (project.data / "dev" / "store" / "data" / "PG_VERSION").exists()
    assert not (project.cache / "dev").exists()


def test_dev_data_survives_a_stopped_server_and_a_deleted_cache(project: Scratch) -> None:
    project.green("db.setup")
    asked(project, "CREATE TABLE precious AS SELECT 42 AS answer")
    project.down()
    shutil.rmtree(project.cache)
    assert "42" in asked(project, "SELECT answer FROM precious")


def in_redis(project: Scratch, command: str, *, kept: bool = True) -> str:
    """Return the list with which the Redis of `dev`, or of test runs, responds to a command."""
    outcome = project.python(REDIS_COMMAND.format(kept=kept, command=command))
    assert outcome.code == 0, outcome.said
    return outcome.out.strip()


def test_the_redis_data_of_dev_survives_a_stop_and_a_kill(project: Scratch) -> None:
    write = "EVAL return{redis.call('INCR','precious')} 0"
    assert in_redis(project, write) == "1"
    assert in_redis(project, write, kept=False) == "1"
    project.down()
    assert in_redis(project, write) == "2"
    # Wait for the write to the disk, which otherwise happens once a second.
    killed = REDIS_COMMAND.format(kept=True, command="WAITAOF 1 0 9000") + KILL
    assert project.python(killed).code == 0
    assert in_redis(project, write) == "3"
    assert in_redis(project, write, kept=False) == "1"


def test_migrate_skips_the_test_database_if_only_dev_exists(project: Scratch) -> None:
    project.green("db.setup")
    # Not by `invoke`, which would add --database.
    outcome = project.start(f"import sys; sys.argv.append('db.migrate'); {INVOKE}").wait()
    assert outcome.code == 0, outcome.said
    assert "_test" not in outcome.said
    assert project.invoke("db.migrate", "--database", "test").code == 2


def test_a_server_whose_supervisor_was_killed_is_stopped_with_the_stack(project: Scratch) -> None:
    project.green("db.setup")
    server = psutil.Process(int((project.data / "dev" / "server.pid").read_text()))
    os.kill(server.ppid(), signal.SIGKILL)
    assert server.pid in project.processes()
    project.down()
    assert server.pid not in project.processes()


def test_data_of_another_major_version_is_named_and_left_unchanged(
    project: Scratch,
) -> None:
    project.green("db.setup")
    project.down()
    version = project.data / "dev" / "store" / "data" / "PG_VERSION"
    ours = version.read_text().strip()
    version.write_text("15\n")
    before = sorted(version.parent.iterdir())
    for action in ("db.setup", "db.status", "stack.up"):
        outcome = project.invoke(action)
        assert outcome.code == 2, outcome.said
        assert "was made by PostgreSQL 15" in outcome.said
        assert f"PostgreSQL {ours} is what runs here" in outcome.said
        assert "pg_dumpall" in outcome.said
        assert f"to start over, beside it: mv {project.data}/dev" in outcome.said
        assert 'to stay with it: postgres = "15" in [tool.stratakit]' in outcome.said
        assert "Traceback" not in outcome.said
    assert sorted(version.parent.iterdir()) == before
    # The fast server of test runs is not affected.
    project.green("db.status", "--database", "test")
    begin = outcome.said.partition("to start over, beside it: ")[2].strip()
    subprocess.run(["sh", "-c", begin], check=True)
    project.green("db.setup")
    assert (project.data / "dev.15" / "store" / "data").exists()


def test_a_running_server_of_another_major_version_is_not_used(project: Scratch) -> None:
    project.green("db.setup")
    settings = project.root / "pyproject.toml"
    settings.write_text(settings.read_text().replace('postgres = "17"', 'postgres = "18"'))
    outcome = project.invoke("db.status")
    assert outcome.code == 2, outcome.said
    assert "was made by PostgreSQL 17, and PostgreSQL 18 is what runs here" in outcome.said
    begin = outcome.said.partition("to start over, beside it: ")[2].strip()
    assert begin.startswith("uv run invoke stack.down && mv ")
    project.down()
    subprocess.run(["sh", "-c", begin.partition(" && ")[2]], check=True)
    project.green("db.setup")
    assert "18." in asked(project, "SHOW server_version")
    # After switching back, the newer version's data is just as safe.
    settings.write_text(settings.read_text().replace('postgres = "18"', 'postgres = "17"'))
    assert "made by PostgreSQL 18, and PostgreSQL 17" in project.invoke("db.status").said
    project.down()


def test_the_dump_command_in_the_message_about_another_version_works(
    project: Scratch, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    project.green("db.setup")
    asked(project, "CREATE TABLE precious AS SELECT 42 AS answer")
    project.down()
    version = project.data / "dev" / "store" / "data" / "PG_VERSION"
    ours = version.read_text().strip()
    version.write_text("15\n")
    said = project.invoke("db.status").said
    version.write_text(f"{ours}\n")
    command = said.partition("to dump it: ")[2].partition("\n")[0]
    # The data is really of our version, so our programs can dump it.
    (programs,) = project.cache.glob("pg-*/programs/*/pginstall*/bin")
    command = re.sub(r"/usr/lib/postgresql/15/bin", str(programs), command)
    monkeypatch.setenv("HOME", str(tmp_path))
    subprocess.run(["sh", "-c", command], check=True, stdout=subprocess.DEVNULL)
    assert "precious" in (tmp_path / "dev-15.sql").read_text()


def test_the_database_of_an_older_stack_becomes_dev(project: Scratch) -> None:
    outcome = project.start(MAKE_OLD_STACK, "stack").wait()
    assert outcome.code == 0, outcome.said
    project.green("db.setup")
    assert "42" in asked(project, "SELECT answer FROM precious")
    assert project.status()["stamp"] == "dev"
    assert f"{project.name}_{project.service.name}_stack" not in project.python(LIST_DATABASES).out
    # Dropped data does not come back.
    project.green("db.drop", "--yes")
    project.green("db.setup")
    assert "precious" not in project.status()["rows"]


def test_a_database_with_an_old_stack_name_but_another_stamp_is_left_alone(
    project: Scratch,
) -> None:
    outcome = project.start(MAKE_OLD_STACK, "production").wait()
    assert outcome.code == 0, outcome.said
    project.green("db.setup")
    assert "precious" not in project.status()["rows"]
    assert f"{project.name}_{project.service.name}_stack" in project.python(LIST_DATABASES).out


def test_a_migration_edited_after_it_was_applied_is_named(project: Scratch) -> None:
    project.green("db.setup")
    (file,) = project.migrations.glob("*.py")
    before = file.read_bytes()
    assert project.status()["changed"] == []
    name = file.relative_to(project.root).as_posix()
    try:
        file.write_bytes(before + b"\n# An afterthought.\n")
        assert project.status()["changed"] == [name]
        assert f"changed since it was applied: {name}" in project.green("db.status").out
        for _ in range(2):
            said = project.green("db.migrate").err
            assert f"{name} has changed since it was applied to {project.database}" in said
            assert "hint: " in said
        # The record of applied files is part of the data, so a snapshot keeps it.
        project.green("db.snapshot", "edited")
        project.green("db.restore", "edited", "--yes")
        assert project.status()["changed"] == [name]
        project.green("db.reset", "--yes")
        assert project.status()["changed"] == []
    finally:
        file.write_bytes(before)
    assert project.status()["changed"] == [name]


def test_a_rollback_needs_confirmation_if_a_dropped_table_has_rows(project: Scratch) -> None:
    project.green("db.setup")
    project.green("db.rollback")
    project.green("db.setup")
    asked(project, "INSERT INTO items (name) VALUES ('lamp')")
    outcome = project.invoke("db.rollback")
    assert outcome.code == 3, outcome.said
    assert "removes the table items: 1 row\n" in outcome.said
    assert "confirmation is needed" in outcome.said
    assert project.status()["rows"] == {"items": 1}
    project.green("db.rollback", "--yes")


def test_a_snapshot_is_restored_to_its_database_and_an_ambiguous_one_is_refused(
    project: Scratch,
) -> None:
    project.green("db.setup", "--database", "all")
    for purpose in ("dev", "test"):
        project.purpose = purpose
        asked(project, "INSERT INTO items (name) VALUES ('of PURPOSE')".replace("PURPOSE", purpose))
        project.green("db.snapshot", purpose)
        asked(project, "DELETE FROM items")
    restore = "import sys; sys.argv = sys.argv[:1] + ['db.restore', sys.argv[1], '--yes']\n"
    code = f"{restore}from invoke.main import program; program.run()"
    for purpose in ("test", "dev"):
        outcome = project.start(code, purpose).wait()
        assert outcome.code == 0, outcome.said
        project.purpose = purpose
        assert purpose in asked(project, "SELECT name FROM items")
    project.purpose = "test"
    project.green("db.snapshot", "dev")
    outcome = project.start(code, "dev").wait()
    assert outcome.code == 3, outcome.said
    assert "there are snapshots 'dev' of " in outcome.said
    assert "--database dev or --database test" in outcome.said


def test_the_postgresql_installation_has_psql_pg_dump_and_pg_restore() -> None:
    found = binaries.postgres()
    assert found
    for name in ("psql", "pg_dump", "pg_restore"):
        assert shutil.which(name, path=str(found.folder)), name
