"""The actions on databases, as a person calls them, on a server that somebody else provides.

This is the stricter case: the server is not ours, so every guard applies.
"""

import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import psycopg
import pytest

from stratakit import database, servers, settings
from stratakit.errors import ConfigurationError
from stratakit.tasks.db import remembered

from .scratch import INVOKE, Scratch

MIGRATION = '''
"""Seed."""

from alembic import op

revision, down_revision = "seeding", "{after}"
branch_labels = depends_on = None


def upgrade() -> None:
    op.execute("CREATE TABLE kind (id serial PRIMARY KEY, name text UNIQUE)")
    op.execute("INSERT INTO kind (name) VALUES ('small'), ('large')")
    op.execute("CREATE TABLE made (id serial PRIMARY KEY, kind int REFERENCES kind)")


def downgrade() -> None:
    op.execute("DROP TABLE made, kind")
'''
RENAMING = '''
"""Rename a column and a table."""

from alembic import op

revision, down_revision = "renaming", "seeding"
branch_labels = depends_on = None


def upgrade() -> None:
    op.alter_column("made", "kind", new_column_name="sort")
    op.rename_table("kind", "sort")


def downgrade() -> None:
    op.rename_table("sort", "kind")
    op.alter_column("made", "sort", new_column_name="kind")
'''
SEEDS = "INSERT INTO kind (name) VALUES ('seeded') ON CONFLICT DO NOTHING;"
FRESH = {"kind": 3, "made": 0}
WRITE = """
    INSERT INTO kind (name) VALUES ('huge');
    INSERT INTO made (kind) SELECT id FROM kind;
    UPDATE kind SET name = 'tiny' WHERE name = 'small';
"""
CHANGES = (
    "db",
    "db.setup",
    "db.create",
    "db.migrate",
    "db.seed",
    "db.reset --yes",
    "db.clean --yes",
    "db.snapshot one --yes",
    "db.restore one --yes",
    "db.gc",
    "db.drop --yes",
)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The URL of the run's server."""
    with servers.lease(settings.load(), ("postgres",)) as up:
        yield up["postgres"].url


@pytest.fixture(scope="module")
def project(address: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scratch]:
    given = {"STRATA_SERVERS": "url", "TEST_DATABASE_URL": address}
    with Scratch(tmp_path_factory.mktemp("actions"), **given) as scratch:
        # Actions on `dev` ask everything that those on `test` ask, and more.
        scratch.purpose = "dev"
        (known,) = [
            each.read_text().split('revision: str = "')[1].split('"')[0]
            for each in scratch.migrations.glob("*.py")
        ]
        (scratch.migrations / "seeding.py").write_text(MIGRATION.format(after=known))
        seeds = scratch.migrations.parents[1] / "seeds"
        seeds.mkdir()
        (seeds / "kinds.sql").write_text(SEEDS)
        with database.connect(address) as connection:
            # If Docker runs on another machine, a container's address is not a loopback one.
            scratch.configure(f'destroyable_hosts = ["{connection.info.hostaddr}"]')
        yield scratch
        with database.connect(address) as admin:
            for name in mine(scratch, admin):
                admin.execute(f'ALTER DATABASE "{name}" IS_TEMPLATE false')
                admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def mine(project: Scratch, admin: database.Connection) -> list[str]:
    query = "SELECT datname FROM pg_database WHERE starts_with(datname, %s) ORDER BY 1"
    return [name for (name,) in admin.execute(query, (f"{project.name}_",)).fetchall()]


@pytest.fixture
def ready(project: Scratch) -> Scratch:
    """The project with a database as `db.setup` makes it."""
    project.green("db.drop", "--yes", "--force")
    project.green("db.setup")
    return project


def write(project: Scratch, address: str, statement: str = WRITE) -> None:
    with database.connect(address, project.database) as connection:
        connection.execute(statement)


def kinds(project: Scratch, address: str) -> list[tuple[Any, ...]]:
    with database.connect(address, project.database) as connection:
        return connection.execute("SELECT id, name FROM kind ORDER BY id").fetchall()


def state(project: Scratch) -> dict[str, Any]:
    """Return the output of `db.status` without the size, which differs by some pages."""
    found = project.status()
    del found["size"]
    return found


@pytest.mark.parametrize("action", CHANGES)
def test_a_repeated_action_leaves_the_same_state(action: str, ready: Scratch) -> None:
    ready.green("db.snapshot", "one", "--yes")
    ready.green(*action.split())
    once = state(ready)
    ready.green(*action.split())
    assert state(ready) == once


@pytest.mark.parametrize("action", CHANGES)
def test_concurrent_runs_of_an_action_all_succeed(action: str, ready: Scratch) -> None:
    ready.green("db.snapshot", "one", "--yes")
    if action in {"db", "db.setup", "db.create"}:
        ready.green("db.drop", "--yes")
    both = [ready.start(INVOKE, *action.split()) for _ in range(3)]
    outcomes = [each.wait() for each in both]
    assert [each.code for each in outcomes] == [0] * 3, outcomes
    ready.green("db.setup")
    assert state(ready)["current"]


def test_setup_repairs_a_database_after_all_actions_ran_at_once(ready: Scratch) -> None:
    ready.green("db.snapshot", "one", "--yes")
    running = [ready.start(INVOKE, *action.split()) for action in CHANGES * 2]
    for each in running:
        outcome = each.wait()
        # Another action may have dropped the database, or may be connected at that moment.
        assert outcome.code in (0, 2, 3), outcome.said
        assert "Traceback" not in outcome.said
    ready.green("db.setup")
    assert state(ready)["rows"].items() >= FRESH.items()


def test_concurrent_resets_build_one_template(ready: Scratch, address: str) -> None:
    with database.connect(address) as admin:
        for name in mine(ready, admin):
            if "_tpl_" in name:
                admin.execute(f'ALTER DATABASE "{name}" IS_TEMPLATE false')
                admin.execute(f'DROP DATABASE "{name}"')
        runs = [ready.start(INVOKE, "db.reset", "--yes") for _ in range(3)]
        outcomes = [each.wait() for each in runs]
        assert [each.code for each in outcomes] == [0] * 3, outcomes
        assert len([name for name in mine(ready, admin) if "_tpl_" in name]) == 1


def test_reset_restores_the_state_of_a_new_setup(ready: Scratch, address: str) -> None:
    fresh, rows = state(ready), kinds(ready, address)
    assert fresh["rows"].items() >= FRESH.items()
    # The first reset records the schema it has found, so the second does not inspect it again.
    for _ in range(2):
        write(ready, address)
        ready.green("db.reset", "--yes")
        assert state(ready) == fresh
    write(ready, address)
    write(ready, address, "CREATE TABLE more (id int); DROP INDEX IF EXISTS ix_items_tags")
    ready.green("db.reset", "--yes")
    assert state(ready) == fresh
    assert kinds(ready, address) == rows
    write(ready, address, "INSERT INTO kind (name) VALUES ('next')")
    assert kinds(ready, address)[-1] == (4, "next")


def test_clean_keeps_the_schema_and_the_rows_seeded_by_migrations(
    ready: Scratch, address: str
) -> None:
    write(ready, address)
    write(ready, address, "CREATE TABLE more AS SELECT 1 AS one")
    ready.green("db.clean", "--yes")
    found = state(ready)
    assert found["rows"] == {**found["rows"], "kind": 2, "made": 0, "more": 0}
    assert found["current"]
    assert kinds(ready, address) == [(1, "small"), (2, "large")]


def test_clean_at_an_older_revision_is_refused(ready: Scratch, address: str) -> None:
    write(ready, address)
    ready.green("db.rollback", "--yes")
    before = state(ready)
    outcome = ready.invoke("db.clean", "--yes")
    assert outcome.code == 3, outcome.said
    assert f"{ready.database} is at {before['revision']}, 1 behind" in outcome.said
    assert f"hint: uv run invoke db.migrate --service {ready.service.name}" in outcome.said
    assert state(ready) == before


def test_clean_of_a_database_without_tables_does_nothing(project: Scratch) -> None:
    project.green("db.drop", "--yes")
    project.green("db.create")
    project.green("db.clean", "--yes")
    assert project.status()["rows"] == {}


def test_restore_brings_back_the_schema_and_rows_of_a_snapshot(
    ready: Scratch, address: str
) -> None:
    write(ready, address)
    kept, rows = state(ready), kinds(ready, address)
    ready.green("db.snapshot", "before", "--yes")
    write(ready, address, "DELETE FROM made; DROP TABLE made; DELETE FROM kind")
    ready.green("db.restore", "before", "--yes")
    assert state(ready) == kept
    assert kinds(ready, address) == rows
    ready.green("db.reset", "--yes")
    ready.green("db.snapshot", "before", "--yes")
    write(ready, address)
    ready.green("db.restore", "before", "--yes")
    assert state(ready)["rows"].items() >= FRESH.items()


def test_snapshots_are_listed_and_deleted(ready: Scratch) -> None:
    def listed() -> list[str]:
        return [each["label"] for each in ready.green("db.snapshots", "--json").json]

    before = listed()
    ready.green("db.snapshot", "listed: one", "--yes")
    assert sorted(listed()) == sorted([*before, "listed: one"])
    [found] = [
        each
        for each in ready.green("db.snapshots", "--json").json
        if each["label"] == "listed: one"
    ]
    assert (found["service"], found["database"]) == (ready.service.name, ready.purpose)
    assert found["made"] > "2026"
    assert found["size"] > 0
    assert f"listed: one: {ready.purpose} of " in ready.green("db.snapshots").out
    dry = ready.green("db.discard", "listed: one", "--dry-run")
    assert "removes the snapshot 'listed: one'" in dry.out
    assert listed() != before
    ready.green("db.discard", "listed: one", "--yes")
    assert listed() == before
    assert ready.invoke("db.restore", "listed: one", "--yes").code == 3


def test_snapshots_of_the_services_that_have_one_are_selected() -> None:
    @dataclass
    class Known:
        service: str
        name: str
        labels: tuple[str, ...] = ()

        def has_snapshot(self, label: str) -> bool:
            return label in self.labels

    def chosen(*known: Known) -> list[Any]:
        return remembered("kept", cast("list[Any]", [*known]))

    there, other = Known("a", "a_dev", ("kept",)), Known("a", "a_test", ("kept",))
    assert chosen(there, Known("a", "a_test"), Known("added_later", "added_later_dev")) == [there]
    with pytest.raises(ConfigurationError, match="of a_dev and of a_test"):
        chosen(there, other)


def test_rollback_of_a_renamed_column_names_no_loss(ready: Scratch, address: str) -> None:
    write(ready, address)
    file = ready.migrations / "renaming.py"
    file.write_text(RENAMING)
    try:
        ready.green("db.migrate")
        assert "removes" not in ready.green("db.rollback", "--dry-run").out
        ready.green("db.rollback", "--yes")
    finally:
        file.unlink()


def test_rollback_undoes_one_revision_and_migrate_applies_all(ready: Scratch) -> None:
    newest = state(ready)["revision"]
    ready.green("db.rollback", "--yes")
    found = state(ready)
    assert found["revision"] != newest
    assert not found["current"]
    assert "made" not in found["rows"]
    ready.green("db.rollback", "--yes")
    ready.green("db.rollback", "--yes")
    assert state(ready)["revision"] is None
    ready.green("db.migrate")
    assert state(ready)["current"]


def test_gc_drops_only_databases_left_by_dead_runs(ready: Scratch, address: str) -> None:
    ready.green("db.reset", "--yes")
    outcome = ready.python("""
from stratakit import names
dead = names.database(names.new_run(), "main")
print(dead, names.kept(dead), dead[:-1] + "x")
""")
    made = outcome.out.split()
    assert len(made) == 3, outcome.said
    with database.connect(address) as admin:
        before = mine(ready, admin)
        for name in made:
            admin.execute(f'CREATE DATABASE "{name}"')
        found = ready.green("db.gc", "--json").json
        assert sorted(found["dropped"]) == sorted(made[:2])
        assert mine(ready, admin) == sorted([*before, made[2]])
        admin.execute(f'DROP DATABASE "{made[2]}"')


def test_gc_spares_the_databases_of_a_live_run(ready: Scratch, address: str) -> None:
    lives = ready.start("""
import sys
from stratakit import database, names, servers, settings
with servers.lease(settings.load(), ("postgres",)) as up, database.run(up["postgres"].url) as run:
    with database.connect(up["postgres"].url) as admin:
        admin.execute(f'CREATE DATABASE "{names.database(run, "lives")}"')
    with database.connect(up["postgres"].url) as waits:
        waits.execute("SELECT pg_advisory_lock(4242)")
""")
    with database.connect(address) as admin, database.connect(address) as holder:
        holder.execute("SELECT pg_advisory_lock(4242)")
        waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        servers.waiting.until(lambda: _expect(admin.execute(waiting).fetchone() == (1,)), 20)
        ready.green("db.gc")
        assert [name for name in mine(ready, admin) if "_lives_" in name]
    outcome = lives.wait()
    assert outcome.code == 0, outcome.said
    with database.connect(address) as admin:
        assert not [name for name in mine(ready, admin) if "_lives_" in name]


def _expect(condition: object) -> None:
    assert condition


def test_revision_drops_a_table_without_a_model_only_with_the_drop_option(ready: Scratch) -> None:
    before = set(ready.migrations.glob("*.py"))
    outcome = ready.green("db.revision", "-m", "drop what no model has")
    assert set(ready.migrations.glob("*.py")) == before
    assert "left as it is, since no model has it (--drop drops" in outcome.err
    assert "table public.made" in outcome.err
    outcome = ready.green("db.revision", "-m", "drop what no model has", "--json", "--drop")
    (file,) = set(ready.migrations.glob("*.py")) - before
    try:
        assert outcome.json == {ready.service.name: str(file)}
        assert "drop_what_no_model_has" in file.name
        assert "op.drop_table('made')" in file.read_text().replace('"', "'")
        assert not state(ready)["current"]
        # A commit requires formatted files.
        formatted = ("ruff", "format", "--check", "--no-cache", "--config", "pyproject.toml")
        subprocess.run([*formatted, str(file)], check=True, cwd=ready.root)
    finally:
        file.unlink()


def test_revision_writes_nothing_when_models_and_migrations_agree(
    project: Scratch, address: str
) -> None:
    seeding = project.migrations / "seeding.py"
    text = seeding.read_text()
    before = set(project.migrations.glob("*.py")) - {seeding}
    seeding.unlink()
    try:
        outcome = project.green("db.revision", "-m", "nothing")
        as_json = project.green("db.revision", "-m", "nothing", "--json")
        assert set(project.migrations.glob("*.py")) == before
    finally:
        seeding.write_text(text)
    agree = f"nothing to write: the models and migrations of {project.service.name} agree"
    assert outcome.out == f"{agree}\n"
    assert as_json.json == {project.service.name: None}


@pytest.mark.parametrize("action", [*CHANGES, "db.status", "db.rollback --yes"])
def test_the_json_option_prints_valid_json_and_nothing_else(action: str, ready: Scratch) -> None:
    ready.green("db.snapshot", "one", "--yes")
    found = ready.green(*action.split(), "--json").json
    if action == "db.status":
        assert found[0]["service"] == ready.service.name
    else:
        assert action.split(maxsplit=1)[0] in {f"db.{found['action']}", "db"}


@pytest.mark.parametrize(
    "action", ["drop", "reset", "clean", "rollback", "restore one", "drop --force"]
)
def test_a_dry_run_prints_what_it_would_remove_and_changes_nothing(
    action: str, ready: Scratch, address: str
) -> None:
    ready.green("db.snapshot", "one", "--yes")
    write(ready, address)
    before, rows = state(ready), kinds(ready, address)
    outcome = ready.green(*f"db.{action}".split(), "--dry-run")
    line = (
        rf"{action.split(maxsplit=1)[0]} {ready.database} on \S+: \d+ tables, .*\d+\.\d MB\n"
        r"(  removes .*: \d+ rows?\n)+"
    )
    assert re.fullmatch(line, outcome.out), outcome.said
    outcome = ready.green(*f"db.{action}".split(), "--dry-run", "--json")
    assert outcome.json["services"] == {}
    assert state(ready) == before
    assert kinds(ready, address) == rows


@pytest.mark.parametrize("action", ["drop", "reset", "clean", "rollback", "restore one"])
def test_a_destructive_action_is_refused_without_yes_or_a_terminal(
    action: str, ready: Scratch
) -> None:
    before = state(ready)
    outcome = ready.invoke(*f"db.{action}".split())
    assert outcome.code == 3, outcome.said
    assert "confirmation is needed, but standard input is not a terminal" in outcome.said
    assert "--yes" in outcome.said
    assert state(ready) == before


@pytest.mark.parametrize("action", ["drop", "reset", "clean", "rollback", "snapshot one"])
def test_an_action_is_refused_while_another_session_is_connected(
    action: str, ready: Scratch, address: str
) -> None:
    named = psycopg.conninfo.make_conninfo(address, application_name="psql of a colleague")
    yes = () if action.startswith("snapshot") else ("--yes",)
    with database.connect(named, ready.database) as other:
        outcome = ready.invoke(*f"db.{action}".split(), *yes)
        assert outcome.code == 3, outcome.said
        assert "psql of a colleague as " in outcome.said
        other.execute("SELECT 1")


WRONG = {
    "db.setup --service nothing": (3, "there is no service 'nothing'"),
    "db.status --service nothing": (3, "there is no service 'nothing'"),
    "db.discard nothing --yes": (3, "there is no snapshot 'nothing'"),
    "db.restore nothing --yes": (3, "there is no snapshot 'nothing'"),
    "db.clean --service nothing --yes": (3, "there is no service 'nothing'"),
}


@pytest.mark.parametrize("action", WRONG)
def test_an_unknown_service_or_snapshot_is_named_with_a_hint(action: str, ready: Scratch) -> None:
    code, said = WRONG[action]
    outcome = ready.invoke(*action.split())
    assert outcome.code == code, outcome.said
    assert said in outcome.said
    assert "hint:" in outcome.said
    assert "Traceback" not in outcome.said


@pytest.mark.parametrize(
    "action", ["migrate", "seed", "clean --yes", "rollback --yes", "snapshot x"]
)
def test_a_missing_database_error_names_the_command_that_creates_it(
    action: str, project: Scratch
) -> None:
    project.green("db.drop", "--yes")
    outcome = project.invoke(*f"db.{action}".split())
    assert outcome.code == 2, outcome.said
    assert f"the database {project.database} is not there" in outcome.said
    assert "uv run invoke db.setup" in outcome.said
    assert not project.status()["exists"]


def test_a_failing_migration_is_a_failure_and_leaves_the_last_revision(ready: Scratch) -> None:
    broken = ready.migrations / "broken.py"
    text = MIGRATION.format(after="seeding").replace('"seeding", ', '"broken", ')
    broken.write_text(text)
    try:
        outcome = ready.invoke("db.migrate")
        assert outcome.code == 1, outcome.said
        assert 'relation "kind" already exists' in outcome.said
        outcome = ready.invoke("db.reset", "--yes")
        assert outcome.code == 1, outcome.said
        found = state(ready)
        assert found["revision"] == "seeding"
        assert not found["current"]
        assert found["rows"].items() >= FRESH.items()
    finally:
        broken.unlink()
    ready.green("db.setup")
    assert state(ready)["current"]


WRONG_SEEDS = {
    "INSERT INTO nowhere VALUES (1)": 'relation "nowhere" does not exist',
    "INSERT INTO kind (name) VALUES ('small')": "duplicate key value violates unique constraint",
    "SELECT 1 / 0": "division by zero",
}


@pytest.mark.parametrize("seed", WRONG_SEEDS)
def test_a_failing_seed_is_a_failure_and_names_its_file(seed: str, ready: Scratch) -> None:
    broken = ready.migrations.parents[1] / "seeds" / "z.sql"
    broken.write_text(seed)
    try:
        outcome = ready.invoke("db.seed")
        assert outcome.code == 1, outcome.said
        assert "z.sql" in outcome.said
        assert WRONG_SEEDS[seed] in outcome.said
        assert "Traceback" not in outcome.said
    finally:
        broken.unlink()


def test_an_unreachable_server_is_an_infrastructure_error(ready: Scratch) -> None:
    gone = "postgresql://me:secret@127.0.0.1:1/postgres"
    for action in ("db", "db.status", "db.gc", "db.drop --yes"):
        outcome = ready.invoke(*action.split(), TEST_DATABASE_URL=gone)
        assert outcome.code == 2, outcome.said
        assert "TEST_DATABASE_URL" in outcome.said
        assert ":secret@127" not in outcome.said


def test_actions_refuse_a_database_stamped_as_production(ready: Scratch, address: str) -> None:
    with database.connect(address) as admin:
        stamp = f'ALTER DATABASE "{ready.database}" SET strata.environment ='
        admin.execute(f"{stamp} 'production'")
        try:
            for action in ("setup", "migrate", "seed", "drop --yes", "reset --yes --force"):
                outcome = ready.invoke(*f"db.{action}".split())
                assert outcome.code == 3, outcome.said
                assert "it is stamped as production" in outcome.said
            assert state(ready)["rows"].items() >= FRESH.items()
        finally:
            admin.execute(f"{stamp} 'dev'")


def test_status_shows_the_owner_size_revision_and_row_counts(ready: Scratch) -> None:
    found = ready.status()
    assert json.loads(json.dumps(found))["owner"]
    assert found["size"] > 1_000_000
    assert found["revision"] == found["head"] == "seeding"
    assert "PostgreSQL" in found["server"]
    said = ready.green("db.status").out
    assert f"{ready.database}: revision seeding" in said
    assert "kind 3" in said


def test_status_leaves_out_the_temporary_tables_of_other_sessions(
    ready: Scratch, address: str
) -> None:
    before = state(ready)["rows"]
    with database.connect(address, ready.database) as other:
        other.execute("CREATE TEMPORARY TABLE passing AS SELECT generate_series(1, 10000)")
        assert state(ready)["rows"] == before


def test_status_of_a_locked_table_is_an_infrastructure_error_without_a_traceback(
    ready: Scratch, address: str
) -> None:
    with database.connect(address, ready.database) as other, other.transaction():
        other.execute("LOCK TABLE kind IN ACCESS EXCLUSIVE MODE")
        outcome = ready.invoke("db.status")
    assert outcome.code == 2, outcome.said
    assert "is locked by others: process" in outcome.said
    assert "Traceback" not in outcome.said
