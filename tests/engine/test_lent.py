"""A role that may not create databases: runs use the `test` database of people, and no other."""

from collections.abc import Iterator

import psycopg
import pytest
from stratakit import database, servers, settings

from .scratch import Scratch

TEST = """
import psycopg

def written(url):
    with psycopg.connect(url.replace("+asyncpg", ""), autocommit=True) as connection:
        before = connection.execute("SELECT count(*) FROM items").fetchone()
        connection.execute("INSERT INTO items (name) VALUES ('lamp')")
        return before

def test_one(postgres_url):
    assert "_test" in postgres_url
    assert written(postgres_url) == (0,)

def test_two(postgres_url):
    assert written(postgres_url) == (0,)
"""
NEEDS_A_DATABASE = "def test_it(clone_url):\n    assert clone_url\n"
MIGRATIONS = """
from stratakit import project
from stratakit.testing import migrations

test_migrations = migrations.suite(project.services()[0].name)
"""
ROWS = "SELECT count(*) FROM items"


@pytest.fixture(scope="module")
def up() -> Iterator[dict[servers.Kind, servers.Server]]:
    """The servers of the run."""
    with servers.lease(settings.load()) as up:
        yield up


@pytest.fixture
def address(up: dict[servers.Kind, servers.Server]) -> str:
    return up["postgres"].url


@pytest.fixture
def project(
    up: dict[servers.Kind, servers.Server], address: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Scratch]:
    """A project whose role has a `test` database and may make no other."""
    ours = {"STRATA_SERVERS": "url", "TEST_REDIS_URL": up["redis"].url}
    # Servers that the project starts itself would not be the ones under test.
    with Scratch(tmp_path_factory.mktemp("lent"), TEST_DATABASE_URL=address, **ours) as scratch:
        role = scratch.name
        own = psycopg.conninfo.make_conninfo(address, user=role, password=role)
        parts = psycopg.conninfo.conninfo_to_dict(own)
        with database.connect(address) as admin:
            scratch.configure(f'destroyable_hosts = ["{admin.info.hostaddr}"]')
            admin.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{role}'")
            admin.execute(f'CREATE DATABASE "{scratch.database}" OWNER {role}')
        scratch.environment["TEST_DATABASE_URL"] = as_url(parts)  # For later commands.
        (scratch.tests / "test_it.py").write_text(TEST)
        yield scratch
        with database.connect(address) as admin:
            admin.execute(f'DROP DATABASE "{scratch.database}" WITH (FORCE)')
            admin.execute(f"DROP ROLE {role}")


def as_url(parts: dict[str, object]) -> str:
    return database.url(psycopg.conninfo.make_conninfo(**parts), "postgres").render_as_string(
        hide_password=False
    )


def run(project: Scratch, *more: str) -> tuple[int, str]:
    outcome = project.pytest(str(project.tests), *more, **given(project))
    return outcome.code, outcome.said


def given(project: Scratch) -> dict[str, str]:
    return {"TEST_DATABASE_URL": project.environment["TEST_DATABASE_URL"]}


def test_a_run_announces_that_it_takes_the_test_database_and_leaves_it_empty(
    project: Scratch, address: str
) -> None:
    project.green("db.setup", **given(project))
    with database.connect(address, project.database) as own:
        own.execute("INSERT INTO items (name) VALUES ('of a person')")
    code, said = run(project)
    assert code == 0, said
    told = f"may not create databases: this run takes, and empties, {project.database} on "
    assert told in said
    assert said.index(told) < said.index("2 passed")
    with database.connect(address, project.database) as own:
        assert own.execute(ROWS).fetchone() == (0,)


def test_a_run_takes_an_empty_test_database_created_by_a_superuser(project: Scratch) -> None:
    code, said = run(project)
    assert code == 0, said


def test_a_run_never_takes_the_test_database_while_another_session_is_open(
    project: Scratch, address: str
) -> None:
    project.green("db.setup", **given(project))
    with database.connect(address, project.database) as person:
        person.execute("INSERT INTO items (name) VALUES ('of a person')")
        code, said = run(project)
        assert code == 12, said
        assert f"{project.database} is in use, so that no test run takes it" in said
        assert "this run takes" not in said
        assert person.execute(ROWS).fetchone() == (1,)


def test_a_run_never_takes_a_database_stamped_as_another_environment(
    project: Scratch, address: str
) -> None:
    project.green("db.setup", **given(project))
    with database.connect(address, project.database) as own:
        own.execute("INSERT INTO items (name) VALUES ('of a person')")
        own.execute(f"ALTER DATABASE \"{project.database}\" SET strata.environment = 'dev'")
    code, said = run(project)
    assert code == 13, said
    assert "it is stamped as dev" in said
    with database.connect(address, project.database) as own:
        assert own.execute(ROWS).fetchone() == (1,)


def test_several_workers_cannot_share_the_test_database(project: Scratch) -> None:
    code, said = run(project, "-n", "2")
    assert code == 12, said
    assert f"2 workers cannot share {project.database}" in said


def test_a_test_that_needs_its_own_database_fails_and_names_the_missing_right(
    project: Scratch,
) -> None:
    (project.tests / "test_it.py").write_text(NEEDS_A_DATABASE)
    code, said = run(project)
    assert code != 0, said
    assert "the role may not create databases, and this test needs its own" in said


def test_migration_tests_that_need_a_new_database_are_skipped_and_the_others_pass(
    project: Scratch,
) -> None:
    (project.tests / "test_it.py").write_text(MIGRATIONS)
    code, said = run(project, "-rs")
    assert code == 0, said
    assert "3 passed, 1 skipped" in said
    assert "the role may not create databases, which this needs one of" in said


def test_a_forgotten_migration_is_reported_once_and_no_test_is_run(project: Scratch) -> None:
    (models,) = project.root.glob("services/*/src/*/models.py")
    text = models.read_text()
    index = '__table_args__ = (Index(None, "quantity"),'
    models.write_text(text.replace("__table_args__ = (", index))
    try:
        code, said = run(project)
    finally:
        models.write_text(text)
    assert code == 1, said
    assert said.count("missing index public.ix_items_quantity") == 1
    assert "passed" not in said
    assert "hint: uv run invoke db.revision --message" in said
    code, said = run(project)
    assert (code, "2 passed" in said) == (0, True), said


def test_a_missing_test_database_error_names_the_statement_that_creates_it(
    project: Scratch, address: str
) -> None:
    with database.connect(address) as admin:
        admin.execute(f'ALTER DATABASE "{project.database}" RENAME TO {project.name}')
        try:
            code, said = run(project)
        finally:
            admin.execute(f'ALTER DATABASE {project.name} RENAME TO "{project.database}"')
    assert code == 12, said
    assert f'CREATE DATABASE "{project.database}" OWNER "{project.name}"' in said
