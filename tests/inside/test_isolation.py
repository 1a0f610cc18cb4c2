"""What a test writes is gone for the next one, whatever the schema; what it holds on to is named."""

import asyncio
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import psycopg
import pytest
from ops import database, names, servers, settings
from ops.database import Connection, Wipe
from ops.database.wiping import State
from ops.testing.isolation import Isolated

SCHEMA = """
    CREATE SCHEMA other;
    CREATE TABLE parent (id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY, favourite int, note json);
    CREATE TABLE child (id serial PRIMARY KEY, parent int NOT NULL REFERENCES parent);
    ALTER TABLE parent ADD FOREIGN KEY (favourite) REFERENCES child;
    CREATE TABLE other.event (at date, what text) PARTITION BY RANGE (at);
    CREATE TABLE other.event_2026 PARTITION OF other.event
        FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
    CREATE TABLE "Odd name" (id int GENERATED ALWAYS AS IDENTITY,
        half int, twice int GENERATED ALWAYS AS (half * 2) STORED);
    INSERT INTO "Odd name" (half) VALUES (1), (2);
    CREATE TABLE audit (what text);
    CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN INSERT INTO audit VALUES (TG_OP); RETURN OLD; END $$;
    CREATE TRIGGER note AFTER DELETE ON child FOR EACH ROW EXECUTE FUNCTION note();
"""
WRITES = """
    INSERT INTO parent (note) VALUES ('{"a": 1}'), ('{}');
    INSERT INTO child (parent) SELECT id FROM parent;
    UPDATE parent SET favourite = (SELECT min(id) FROM child);
    INSERT INTO other.event VALUES ('2026-05-01', 'x');
    UPDATE "Odd name" SET half = 7 WHERE half = 1;
    DELETE FROM "Odd name" WHERE half = 2;
    INSERT INTO "Odd name" (half) VALUES (3);
    DELETE FROM child WHERE id = (SELECT max(id) FROM child);
"""
STATE = """
    SELECT (SELECT count(*) FROM parent), (SELECT count(*) FROM child), (SELECT count(*) FROM audit),
      (SELECT count(*) FROM other.event), (SELECT array_agg(o::text ORDER BY id) FROM "Odd name" o),
      (SELECT last_value FROM parent_id_seq), (SELECT is_called FROM child_id_seq)
"""
ODD = '"Odd name"'
FIRST = (0, 0, 0, 0, ["(1,1,2)", "(2,2,4)"], 1, False)

Make = Callable[[str], tuple[str, str]]


@pytest.fixture(scope="module")
def make() -> Iterator[Make]:
    """Make a database with a schema; return the server and its name."""
    with ExitStack() as stack:
        server = stack.enter_context(servers.lease(settings.load(), ("postgres",)))["postgres"].url
        run = stack.enter_context(database.run(server))
        count = iter(range(1000))

        def new(schema: str) -> tuple[str, str]:
            name = names.database(run, f"iso{next(count)}")
            with database.connect(server) as admin:
                admin.execute(f'CREATE DATABASE "{name}"')
            with database.connect(server, name) as connection:
                connection.execute(schema)
            return server, name

        yield new


def test_rows_seeds_and_sequences_are_as_before(make: Make) -> None:
    server, name = make(SCHEMA)
    with database.connect(server, name) as own, database.connect(server, name) as test:
        wipe = Wipe(own)
        assert test.execute(STATE).fetchone() == FIRST
        for _ in range(2):
            test.execute(WRITES)
            assert test.execute(STATE).fetchone() != FIRST
            wipe()
            assert test.execute(STATE).fetchone() == FIRST


def test_tables_that_change_meanwhile_are_wiped_too(make: Make) -> None:
    server, name = make(SCHEMA)
    with database.connect(server, name) as own, database.connect(server, name) as test:
        wipe = Wipe(own)
        wipe()
        test.execute(f"ALTER TABLE {ODD} ADD COLUMN more int; ALTER TABLE parent DROP COLUMN note")
        test.execute("DROP TABLE audit; CREATE TABLE audit (number int)")
        test.execute(f"INSERT INTO audit VALUES (1); INSERT INTO {ODD} (half) VALUES (3)")
        wipe()
        assert test.execute("SELECT count(*) FROM audit").fetchone() == (0,)
        assert test.execute(f"SELECT array_agg(half) FROM {ODD}").fetchone() == ([1, 2],)


def test_a_plain_role_cleans_past_cycles_and_triggers(make: Make) -> None:
    server, name = make(SCHEMA)
    role = f"plain_{name[-8:]}"
    with database.connect(server, name) as admin:
        admin.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{role}'")
        admin.execute(f"GRANT ALL ON SCHEMA public, other TO {role}")
        admin.execute(f"ALTER TABLE other.event OWNER TO {role}")
        for table in ("parent", "child", "audit", ODD):
            admin.execute(f"ALTER TABLE {table} OWNER TO {role}")
    plain = psycopg.conninfo.make_conninfo(server, user=role, password=role)
    try:
        with database.connect(plain, name) as own, database.connect(server, name) as test:
            wipe = Wipe(own)
            test.execute(WRITES)
            wipe()
            assert test.execute(STATE).fetchone() == FIRST
    finally:
        with database.connect(server, name) as admin:
            admin.execute(f"DROP OWNED BY {role} CASCADE")
            admin.execute(f"DROP ROLE {role}")


def test_nothing_is_deleted_where_nothing_was_written(make: Make) -> None:
    server, name = make(SCHEMA)
    with database.connect(server, name) as own:
        wipe = Wipe(own)
        own.execute("SELECT pg_stat_force_next_flush()")
        before = deleted(own)
        for _ in range(3):
            wipe()
        assert deleted(own) == before


def deleted(connection: Connection) -> int:
    """Return how many deletions and truncations the tables have seen."""
    connection.execute("SELECT pg_stat_force_next_flush()")
    connection.execute("SELECT pg_stat_clear_snapshot()")
    query = "SELECT sum(n_tup_del) + sum(n_tup_ins) FROM pg_stat_user_tables"
    (count,) = connection.execute(query).fetchone() or (0,)
    return int(count)


def test_a_database_is_wiped_to_the_state_of_another(make: Make) -> None:
    server, name = make(SCHEMA)
    _, fresh = make(SCHEMA)
    with database.connect(server, name) as own, database.connect(server, fresh) as like:
        own.execute(WRITES)
        Wipe(own, State.of(like))()
        assert own.execute(STATE).fetchone() == FIRST


def test_a_transaction_that_is_left_open_is_named_and_ended(make: Make) -> None:
    server, name = make(SCHEMA)
    with Isolated(server, name) as isolated, database.connect(server, name) as test:
        test.execute("BEGIN")
        test.execute("INSERT INTO audit VALUES ('held')")
        with pytest.raises(AssertionError, match="INSERT INTO audit VALUES"):
            isolated.clean()
        isolated.clean()
        with pytest.raises(psycopg.OperationalError):
            test.execute("COMMIT")


def test_a_connection_that_rests_in_a_pool_is_no_leak(make: Make) -> None:
    server, name = make(SCHEMA)
    with Isolated(server, name) as isolated, database.connect(server, name) as test:
        test.execute(WRITES)
        isolated.clean()
        assert test.execute(STATE).fetchone() == FIRST


LEAKING_TESTS = """
import asyncio
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy import text

kept = []

async def test_leaves_a_task():
    kept.append(asyncio.create_task(asyncio.Event().wait()))

async def test_after_the_task():
    pass

async def test_leaves_a_transaction(postgres_url):
    engine = create_async_engine(postgres_url)
    connection = await engine.connect()
    await connection.execute(text("SELECT 1"))
    kept.append((engine, connection))

async def test_after_the_transaction(postgres_url):
    pass

async def test_keeps_its_clone(clone_url):
    assert not clone_url

async def test_has_a_clone(clone_url):
    engine = create_async_engine(clone_url)
    async with engine.begin() as connection:
        await connection.execute(text("CREATE TABLE mine (id int)"))
    await engine.dispose()

async def test_has_a_clean_clone(clone_url):
    engine = create_async_engine(clone_url)
    async with engine.begin() as connection:
        await connection.execute(text("CREATE TABLE mine (id int)"))
    await engine.dispose()

async def test_rolls_back(rollback):
    await rollback.execute(text("CREATE TABLE gone (id int)"))

async def test_rolls_back_again(rollback):
    await rollback.execute(text("CREATE TABLE gone (id int)"))
"""


async def test_leaks_fail_the_test_that_leaks_and_not_the_next(pytestconfig: pytest.Config) -> None:
    folder = pytestconfig.rootpath / "services" / "gateway" / "tests" / "integration"
    file = folder / "test_leaking_planted.py"
    file.write_text(LEAKING_TESTS, encoding="utf-8")
    try:
        run = await asyncio.create_subprocess_exec(
            *(
                sys.executable,
                "-m",
                "pytest",
                "-rA",
                "-W",
                "ignore",
                "-p",
                "no:cacheprovider",
                str(file),
            ),
            stdout=asyncio.subprocess.PIPE,
            cwd=pytestconfig.rootpath,
        )
        output = (await run.communicate())[0].decode()
    finally:
        file.unlink()
    said = {
        line.split("::")[1].split(" ")[0]: line.split(" ")[0]
        for line in output.splitlines()
        if line.startswith(("PASSED", "FAILED", "ERROR"))
    }
    assert said == {
        "test_leaves_a_task": "ERROR",
        "test_after_the_task": "PASSED",
        "test_leaves_a_transaction": "ERROR",
        "test_after_the_transaction": "PASSED",
        "test_keeps_its_clone": "FAILED",
        "test_has_a_clone": "PASSED",
        "test_has_a_clean_clone": "PASSED",
        "test_rolls_back": "PASSED",
        "test_rolls_back_again": "PASSED",
    }, output
    assert "kept until db.gc: postgresql+asyncpg://" in output
