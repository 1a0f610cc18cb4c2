"""Timeouts of waits in PostgreSQL, and the names of the sessions that block."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from stratakit import database, names, project
from stratakit.database import lifecycle, runs, status
from stratakit.database.connection import Lock, locked
from stratakit.errors import Code, InfrastructureError
from stratakit.schema import verify
from stratakit.servers import Server

from .clusters import cluster, free_port

LIMIT = "options=-c%20lock_timeout%3D300ms"
"""Settings that make a connection's waits shorter than ours."""
ACTIONS: dict[str, Callable[[lifecycle.Database], object]] = {
    "clean": lambda it: it.clean(force=True),
    "reset": lambda it: it.reset(force=True),
    "rollback": lambda it: it.rollback(force=True),
    "migrate": lambda it: it.migrate(),
    "seed": lambda it: it.seed(),
    "setup": lambda it: it.setup(),
    "drop": lambda it: it.drop(force=True),
    "snapshot": lambda it: it.snapshot("kept"),
    "restore": lambda it: it.restore("kept", force=True),
    "create": lambda it: it.create(),
}
OF_TABLES = ("clean", "reset", "rollback", "migrate", "seed", "setup")
OF_DATABASES = ("drop", "restore", "snapshot")
DESTROYING = ("clean", "reset", "rollback", "drop", "restore")


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with cluster("127.0.0.1", free_port("127.0.0.1")) as address:
        yield address


@pytest.fixture
def it(server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[lifecycle.Database]:
    """A database whose migrations, seeds and rows all concern one table."""
    folder = tmp_path_factory.mktemp("waiting")
    known = project.services()[0]
    (folder / "seeds").mkdir()
    (folder / "seeds" / "it.sql").write_text("UPDATE held SET one = 2")
    (folder / "pyproject.toml").write_bytes((known.path / "pyproject.toml").read_bytes())
    (folder / "src").symlink_to(known.path / "src")
    migrations = folder / "migrations"
    (migrations / "versions").mkdir(parents=True)
    for file in ("env.py", "script.py.mako"):
        (migrations / file).write_bytes((known.path / "migrations" / file).read_bytes())
    revision(migrations, "first", None, "CREATE TABLE held (one int)", "DROP TABLE held")
    service = replace(known, name="waiting", path=folder)
    mine = lifecycle.Database(_server(server), service)
    mine.setup()
    mine.snapshot("kept")
    with database.connect(server, mine.name) as own:
        own.execute("INSERT INTO held VALUES (1)")
    # A pending revision, for `migrate`.
    revision(
        migrations, "second", "first", "ALTER TABLE held ADD two int", "ALTER TABLE held DROP two"
    )
    yield lifecycle.Database(_server(f"{server}?{LIMIT}"), service)
    with database.connect(server) as admin:
        for name in runs.databases(admin):
            if name == mine.name or names.is_ours(name):
                admin.execute(f'ALTER DATABASE "{name}" IS_TEMPLATE false')
                admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def revision(folder: Path, name: str, after: str | None, up: str, down: str) -> None:
    (folder / "versions" / f"{name}.py").write_text(f'''
from alembic import op

revision, down_revision = "{name}", {after!r}
branch_labels = depends_on = None


def upgrade() -> None:
    op.execute("{up}")


def downgrade() -> None:
    op.execute("{down}")
''')


def _server(address: str) -> Server:
    return Server("postgres", address, "url", "", owned=False)


def state(server: str, name: str) -> list[tuple[object, ...]]:
    with database.connect(server, name) as own:
        own.execute("SET lock_timeout = 0")
        return [
            *own.execute("SELECT oid FROM pg_database WHERE datname = current_database()"),
            *own.execute("SELECT version_num FROM alembic_version"),
        ]


@contextmanager
def prepared(server: str, name: str, statement: str) -> Iterator[str]:
    """Leave a prepared transaction that has run a statement."""
    with database.connect(server, name) as own:
        own.execute(f"BEGIN; {statement}; PREPARE TRANSACTION 'left''over'")
    end = "ROLLBACK PREPARED 'left''over'"
    try:
        yield end
    finally:
        with database.connect(server, name) as own:
            own.execute(end)
            rows = own.execute("SELECT one FROM held").fetchall()
    assert rows == [(1,)]


@contextmanager
def idle(server: str, name: str, statement: str) -> Iterator[str]:
    """Leave an open transaction that has run a statement, of a role that nobody may end."""
    address = psycopg.conninfo.make_conninfo(server, application_name="colleague")
    with database.connect(address, name) as own:
        own.execute(f"BEGIN; {statement}")
        yield "colleague as postgres since "


@pytest.mark.parametrize("action", [*OF_TABLES, *OF_DATABASES])
def test_a_blocking_prepared_transaction_is_named_with_the_statement_that_ends_it(
    action: str, it: lifecycle.Database, server: str
) -> None:
    if action in {"rollback", "clean", "reset", "seed"}:
        # `clean` and `reset` require the newest revision.
        it.migrate()
    before = state(server, it.name)
    with prepared(server, it.name, "UPDATE held SET one = 3") as end:
        with pytest.raises(InfrastructureError) as refusal:
            ACTIONS[action](it)
        assert refusal.value.code is Code.INFRASTRUCTURE
        assert "prepared transaction 'left''over' as postgres since 2" in refusal.value.message
        assert f"{end}, in the database {it.name}" in refusal.value.hint
        assert state(server, it.name) == before


@pytest.mark.parametrize("action", DESTROYING)
def test_destructive_actions_are_refused_while_prepared_rows_await_their_commit(
    action: str, it: lifecycle.Database, server: str
) -> None:
    it.migrate()
    before = state(server, it.name)
    with prepared(server, it.name, "INSERT INTO held VALUES (3)") as end:
        with pytest.raises(InfrastructureError) as refusal:
            ACTIONS[action](it)
        assert "appear when they are committed: prepared transaction 'left''over' as" in str(
            refusal.value
        )
        assert f"{end}, in the database {it.name}" in refusal.value.hint
        assert state(server, it.name) == before


@pytest.mark.parametrize("action", ["migrate", "seed", "setup"])
def test_actions_that_destroy_nothing_are_not_blocked_by_prepared_rows(
    action: str, it: lifecycle.Database, server: str
) -> None:
    it.migrate()
    with database.connect(server, it.name) as own:
        own.execute("CREATE TABLE beside (); BEGIN; INSERT INTO beside DEFAULT VALUES")
        own.execute("PREPARE TRANSACTION 'beside'")
    try:
        ACTIONS[action](it)
    finally:
        with database.connect(server, it.name) as own:
            own.execute("ROLLBACK PREPARED 'beside'")


@pytest.mark.parametrize("action", ["migrate", "seed", "setup"])
def test_a_session_that_blocks_an_action_with_a_table_lock_is_named(
    action: str, it: lifecycle.Database, server: str
) -> None:
    before = state(server, it.name)
    with idle(server, it.name, "LOCK TABLE held") as who:
        with pytest.raises(
            InfrastructureError, match=rf"process \d+ {who}.*LOCK TABLE held"
        ) as refusal:
            ACTIONS[action](it)
        assert "SELECT pg_terminate_backend(" in refusal.value.hint
        assert state(server, it.name) == before


@pytest.mark.parametrize("action", ACTIONS)
def test_a_hanging_action_that_blocks_another_is_named(
    action: str, it: lifecycle.Database, server: str
) -> None:
    address = psycopg.conninfo.make_conninfo(server, application_name="hanging")
    with (
        database.connect(address) as hanging,
        locked(hanging, Lock.ACTION, it.name),
        pytest.raises(InfrastructureError, match=r"another action .*process \d+ hanging as"),
    ):
        ACTIONS[action](it)


def test_the_process_that_blocks_a_template_build_is_named(
    it: lifecycle.Database, server: str
) -> None:
    name = runs.template(it.server.url, it.service)
    with database.connect(server) as hanging, locked(hanging, Lock.BUILD, name):
        hanging.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
        with pytest.raises(InfrastructureError, match=r"another action .*process \d+ as"):
            runs.template(it.server.url, it.service)


def test_a_session_connected_to_the_copied_database_is_named(
    it: lifecycle.Database, server: str
) -> None:
    address = psycopg.conninfo.make_conninfo(server, application_name="looking")
    with ExitStack() as stack:
        stack.enter_context(database.connect(address, it.name))
        admin = stack.enter_context(database.connect(server))
        with pytest.raises(InfrastructureError, match=r"connected to .*: process \d+ looking as"):
            runs.create(admin, names.database(names.new_run(), "x"), it.name)


def test_every_connection_has_timeouts_and_keeps_lower_ones_of_the_url(server: str) -> None:
    query = "SELECT current_setting('lock_timeout'), current_setting('statement_timeout')"
    with database.connect(server) as own:
        assert own.execute(query).fetchone() == ("10s", "5min")
    with database.connect(server, "template1") as own:
        assert own.execute(query).fetchone() == ("10s", "0")
    with database.connect(f"{server}?{LIMIT}") as own:
        assert own.execute(query).fetchone() == ("300ms", "5min")
    with database.connect(f"{server}?options=-c%20lock_timeout%3D1h") as own:
        assert own.execute(query).fetchone() == ("10s", "5min")


def test_a_plain_role_also_sees_the_process_that_blocks_its_action(
    it: lifecycle.Database, server: str
) -> None:
    with database.connect(server) as admin:
        admin.execute("CREATE ROLE plain LOGIN CREATEDB")
        try:
            with locked(admin, Lock.ACTION, it.name):
                url = psycopg.conninfo.make_conninfo(it.server.url, user="plain")
                with pytest.raises(InfrastructureError, match=r"process \d+ as postgres"):
                    lifecycle.Database(_server(url), it.service).drop()
        finally:
            admin.execute("DROP ROLE plain")


READS: dict[str, Callable[[lifecycle.Database], object]] = {
    "verify": lambda it: verify.verify(it.server.url, it.service, it.name),
    "status": status.status,
}


@pytest.mark.parametrize("name", READS)
def test_a_session_that_blocks_verify_or_status_is_named(
    name: str, it: lifecycle.Database, server: str
) -> None:
    with (
        idle(server, it.name, "LOCK TABLE alembic_version") as who,
        pytest.raises(InfrastructureError, match=rf"process \d+ {who}.*LOCK TABLE"),
    ):
        READS[name](it)


@pytest.fixture(scope="module")
def plain(server: str) -> str:
    """A role that may create databases, and nothing else."""
    with database.connect(server) as admin:
        admin.execute("CREATE ROLE creator LOGIN CREATEDB")
    return "creator"


@pytest.fixture
def owned(it: lifecycle.Database, server: str, plain: str) -> lifecycle.Database:
    """The database, as seen by a plain role that owns it but not its snapshot."""
    with database.connect(server) as admin:
        admin.execute(f'ALTER DATABASE "{it.name}" OWNER TO {plain}')
    url = psycopg.conninfo.make_conninfo(it.server.url, user=plain)
    return lifecycle.Database(_server(url), it.service)


@pytest.mark.parametrize("action", ["drop", "reset", "rollback"])
def test_a_role_that_may_not_end_other_sessions_gets_a_hint_at_the_missing_grant(
    action: str, owned: lifecycle.Database, server: str
) -> None:
    with idle(server, owned.name, "SELECT") as who:
        with pytest.raises(InfrastructureError) as refusal:
            ACTIONS[action](owned)
        assert f"the role creator may not end the sessions of others in {owned.name}" in str(
            refusal.value
        )
        assert who.removesuffix(" since ") in refusal.value.message
        assert "insufficient" not in refusal.value.message
        assert 'GRANT pg_signal_backend TO "creator"' in refusal.value.hint


def test_restoring_a_snapshot_of_another_owner_names_the_owner(owned: lifecycle.Database) -> None:
    with pytest.raises(InfrastructureError) as refusal:
        owned.restore("kept")
    assert "creator may not copy the database" in refusal.value.message
    assert "since postgres owns it" in refusal.value.message
    assert 'OWNER TO "creator"' in refusal.value.hint
