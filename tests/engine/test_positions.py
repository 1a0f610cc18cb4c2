"""Position of a database among the migrations: every action reports the same, with the same hint."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from stratakit import database, servers, settings
from stratakit.database import migrations

from .scratch import Outcome, Scratch

MIGRATION = '''"""Change nothing."""

revision, down_revision = "{name}", {after}
branch_labels = depends_on = None


def upgrade() -> None: ...


def downgrade() -> None: ...
'''
ACTIONS = ("db.status", "db.migrate", "db.rollback --yes", "db.clean --yes", "db.verify")
"""Actions that depend on the database's position; `db.revision` depends on the heads alone."""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with servers.lease(settings.load(), ("postgres",)) as up:
        yield up["postgres"].url


@pytest.fixture(scope="module")
def project(address: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scratch]:
    given = {"STRATA_SERVERS": "url", "TEST_DATABASE_URL": address}
    with Scratch(tmp_path_factory.mktemp("positions"), **given) as scratch:
        with database.connect(address) as connection:
            scratch.configure(f'destroyable_hosts = ["{connection.info.hostaddr}"]')
        scratch.green("db.setup")
        yield scratch
        scratch.green("db.drop", "--yes", "--force")


@contextmanager
def written(project: Scratch, name: str, after: str) -> Iterator[None]:
    """Add a migration to the code within the block."""
    file = project.migrations / f"{name}.py"
    file.write_text(MIGRATION.format(name=name, after=after))
    with removed(file):
        yield


@contextmanager
def removed(file: Path) -> Iterator[None]:
    """Remove a file after the block."""
    try:
        yield
    finally:
        file.unlink()


def one_line(outcome: Outcome) -> str:
    return " ".join(outcome.said.split()).replace(" hint: ", ": ")


def test_all_actions_report_a_revision_of_another_branch_alike(project: Scratch) -> None:
    with written(project, "elsewhere", '"0001"'):
        project.green("db.migrate")
    try:
        told = (
            f"{project.database} is at elsewhere, which this code does not have; another branch may:"
            " switch to that branch, or: uv run invoke db.reset"
            f" --service {project.service.name} --database test"
        )
        for action in ACTIONS:
            outcome = project.invoke(*action.split())
            assert told in one_line(outcome), (action, outcome.said)
            assert (outcome.code == 0) == (action == "db.status")
            assert "changed since" not in outcome.said
        project.green("db.reset", "--yes")
        assert "0001" in project.green("db.status").out
    finally:
        project.green("db.reset", "--yes")


def test_all_actions_report_two_heads_alike(project: Scratch) -> None:
    with written(project, "left", '"0001"'), written(project, "right", '"0001"'):
        told = (
            f"the migrations of {project.service.name} have 2 heads: left, right:"
            " let one follow the other, or:"
            f" uv run invoke db.revision --merge -m join --service {project.service.name}"
        )
        for action in (*ACTIONS, "db.revision -m more"):
            outcome = project.invoke(*action.split())
            assert told in one_line(outcome), (action, outcome.said)
            assert (outcome.code == 0) == (action == "db.status")


def test_two_heads_are_merged_and_rolled_back_one_migration_at_a_time(
    project: Scratch, address: str
) -> None:
    def at() -> set[str]:
        with database.connect(address, project.database) as connection:
            return set(migrations.revisions(connection))

    def merge() -> Outcome:
        return project.green("db.revision", "--merge", "-m", "join")

    before = {*project.migrations.glob("*.py")}
    try:
        with written(project, "left", '"0001"'), written(project, "right", '"0001"'):
            merge()
            [file] = {*project.migrations.glob("*join.py")} - before
            with removed(file):
                assert "nothing to merge: there is one head" in merge().said
                project.green("db.migrate")
                newest = at()
                project.green("db.rollback", "--yes")
                assert at() == {"left", "right"}
                project.green("db.rollback", "--yes")
                assert at() in ({"left"}, {"right"})
                project.green("db.migrate")
                assert at() == newest
    finally:
        project.green("db.reset", "--yes")


def test_a_database_behind_the_code_is_reported_with_the_command_that_migrates_it(
    project: Scratch,
) -> None:
    with written(project, "newer", '"0001"'):
        for action in ("db.status", "db.verify", "db.clean --yes"):
            said = one_line(project.invoke(*action.split()))
            assert f"{project.database} is at 0001, 1 behind" in said, action
            assert ": uv run invoke db.migrate" in said, action


def test_verify_fails_if_the_database_is_missing(project: Scratch) -> None:
    project.green("db.drop", "--yes")
    try:
        outcome = project.invoke("db.verify")
        assert outcome.code == 2, outcome.said
        assert f"not there: {project.database}" in outcome.said
        assert "hint: uv run invoke db.setup" in outcome.said
        assert "models      passed" in outcome.said
    finally:
        project.green("db.setup")


def test_rows_of_partitions_are_counted_once(project: Scratch, address: str) -> None:
    made = """
        CREATE TABLE event (at int) PARTITION BY RANGE (at);
        CREATE TABLE event_1 PARTITION OF event FOR VALUES FROM (1) TO (10);
        INSERT INTO event VALUES (1), (2);
    """
    with database.connect(address, project.database) as own:
        own.execute(made)
        try:
            rows = project.status()["rows"]
        finally:
            own.execute("DROP TABLE event")
    assert {name: count for name, count in rows.items() if "event" in name} == {"event": 2}


def test_an_unpopulated_materialized_view_counts_zero_rows(project: Scratch, address: str) -> None:
    with database.connect(address, project.database) as own:
        own.execute("CREATE MATERIALIZED VIEW report AS SELECT 1 AS total WITH NO DATA")
        try:
            assert project.status()["rows"]["report"] == 0
        finally:
            own.execute("DROP MATERIALIZED VIEW report")
