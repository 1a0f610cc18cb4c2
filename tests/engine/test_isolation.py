"""Isolation of tests: rows restored whatever the schema, databases recreated, and leaks named."""

import asyncio
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import psycopg
import pytest
from stratakit import database, names
from stratakit.database import Connection, Cleaner
from stratakit.database.cleaning import State
from stratakit.database.relations import CleaningError
from stratakit.errors import InfrastructureError
from stratakit.servers.waiting import until
from stratakit.testing.databases import ClonePool, IsolatedDatabase

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
    CREATE TRIGGER note AFTER DELETE ON other.event FOR EACH ROW EXECUTE FUNCTION note();
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
GIVEN = (
    """
    SELECT format('ALTER %%s %%I OWNER TO %%I', 'SCHEMA', nspname, %(role)s::text)
    FROM pg_namespace WHERE NOT starts_with(nspname, 'pg_') AND nspname <> 'information_schema'
    """,
    """
    SELECT format('ALTER TABLE %%I.%%I OWNER TO %%I', schemaname, tablename, %(role)s::text)
    FROM pg_tables WHERE NOT starts_with(schemaname, 'pg_') AND schemaname <> 'information_schema'
    """,
)
"""Statements that give a role everything in a database."""
FIRST = (0, 0, 0, 0, ["(1,1,2)", "(2,2,4)"], 1, False)

Make = Callable[[str], tuple[str, str]]


def test_cleaning_restores_rows_seeds_and_sequences(make: Make) -> None:
    server, name = make(SCHEMA)
    with database.connect(server, name) as own, database.connect(server, name) as test:
        wipe = Cleaner(own)
        assert test.execute(STATE).fetchone() == FIRST
        for _ in range(2):
            test.execute(WRITES)
            assert test.execute(STATE).fetchone() != FIRST
            wipe()
            assert test.execute(STATE).fetchone() == FIRST


def test_tables_changed_since_the_last_cleaning_are_cleaned(make: Make) -> None:
    server, name = make(SCHEMA)
    with database.connect(server, name) as own, database.connect(server, name) as test:
        wipe = Cleaner(own)
        wipe()
        test.execute(f"ALTER TABLE {ODD} ADD COLUMN more int; ALTER TABLE parent DROP COLUMN note")
        test.execute("DROP TABLE audit; CREATE TABLE audit (number int)")
        test.execute('INSERT INTO audit VALUES (1); INSERT INTO "Odd name" (half) VALUES (3)')
        wipe()
        assert test.execute("SELECT count(*) FROM audit").fetchone() == (0,)
        assert test.execute('SELECT array_agg(half) FROM "Odd name"').fetchone() == ([1, 2],)


@pytest.mark.parametrize("as_superuser", [True, False])
def test_tables_created_later_in_an_empty_database_are_cleaned(
    as_superuser: bool, make: Make
) -> None:
    server, name = make("SELECT")
    with ExitStack() as stack:
        url = server if as_superuser else stack.enter_context(plain(server, name))
        own, test = (stack.enter_context(database.connect(url, name)) for _ in range(2))
        wipe = Cleaner(own)
        for create, insert, rows in (
            ("CREATE TABLE one (id int)", "INSERT INTO one VALUES (1)", "TABLE one"),
            ("CREATE TABLE two (id int)", "INSERT INTO two VALUES (2)", "TABLE two"),
        ):
            wipe()
            test.execute(create)
            for _ in range(2):
                test.execute(insert)
                wipe()
                assert test.execute(rows).fetchall() == []
        test.execute("DROP TABLE one")
        wipe()


@contextmanager
def plain(server: str, name: str) -> Iterator[str]:
    """Give everything in a database to a role that is not a superuser; yield its URL."""
    role = f"plain_{name[-8:]}"
    with database.connect(server, name) as admin:
        admin.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{role}'")
        for each in GIVEN:
            for (statement,) in admin.execute(each, {"role": role}).fetchall():
                admin.execute(statement)
    try:
        yield psycopg.conninfo.make_conninfo(server, user=role, password=role)
    finally:
        with database.connect(server, name) as admin:
            admin.execute(f"DROP OWNED BY {role} CASCADE")
            admin.execute(f"DROP ROLE {role}")


def test_a_plain_role_cleans_tables_with_cycles_and_triggers(make: Make) -> None:
    server, name = make(SCHEMA)
    with (
        plain(server, name) as address,
        database.connect(address, name) as own,
        database.connect(server, name) as test,
    ):
        wipe = Cleaner(own)
        for _ in range(2):
            test.execute(WRITES)
            wipe()
            assert test.execute(STATE).fetchone() == FIRST


SEEDED = """
    CREATE TABLE b_parent (id int PRIMARY KEY, child int, name text, at timestamptz);
    CREATE TABLE a_child (id int PRIMARY KEY, parent int REFERENCES b_parent ON DELETE {action});
    ALTER TABLE b_parent ADD FOREIGN KEY (child) REFERENCES a_child;
    CREATE TABLE tree (id int PRIMARY KEY, above int REFERENCES tree ON DELETE {action});
    CREATE TABLE c_empty (id int PRIMARY KEY, parent int REFERENCES b_parent DEFERRABLE
        INITIALLY DEFERRED);
    CREATE TABLE audit (what text);
    CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN INSERT INTO audit VALUES (TG_OP); NEW.at = now(); RETURN NEW; END $$;
    INSERT INTO b_parent VALUES (1, NULL, 'one'), (2, NULL, 'two');
    INSERT INTO a_child VALUES (1, 1), (2, 2);
    UPDATE b_parent SET child = id;
    INSERT INTO tree VALUES (1, NULL), (2, 1), (3, 2);
    CREATE TRIGGER note BEFORE INSERT ON b_parent FOR EACH ROW EXECUTE FUNCTION note();
    CREATE TRIGGER off BEFORE INSERT ON b_parent FOR EACH ROW EXECUTE FUNCTION note();
    ALTER TABLE b_parent DISABLE TRIGGER off;
"""
SEEDED_STATE = """
    SELECT (SELECT array_agg(b::text ORDER BY id) FROM b_parent b),
      (SELECT array_agg(a::text ORDER BY id) FROM a_child a),
      (SELECT array_agg(t::text ORDER BY id) FROM tree t),
      (SELECT count(*) FROM audit), (SELECT count(*) FROM c_empty),
      (SELECT string_agg(tgenabled::text, '' ORDER BY tgname)
       FROM pg_trigger WHERE NOT tgisinternal)
"""
SEEDED_WRITES = (
    "UPDATE b_parent SET name = 'other' WHERE id = 1",
    "INSERT INTO b_parent VALUES (3); INSERT INTO c_empty VALUES (1, 3), (2, 1)",
    "UPDATE b_parent SET child = NULL; DELETE FROM a_child; INSERT INTO a_child VALUES (7, 2)",
    "UPDATE tree SET above = 3 WHERE id = 1",
    "INSERT INTO c_empty VALUES (1, 2)",
)


@pytest.mark.parametrize("action", ["NO ACTION", "RESTRICT", "CASCADE", "SET NULL"])
def test_a_plain_role_restores_seeds_that_refer_to_each_other(action: str, make: Make) -> None:
    server, name = make(SEEDED.format(action=action))
    with (
        plain(server, name) as address,
        database.connect(address, name) as own,
        database.connect(server, name) as test,
    ):
        wipe = Cleaner(own)
        first = test.execute(SEEDED_STATE).fetchone()
        for writes in SEEDED_WRITES:
            test.execute(writes)
            assert test.execute(SEEDED_STATE).fetchone() != first
            wipe()
            assert test.execute(SEEDED_STATE).fetchone() == first


AWKWARD = """
    CREATE TABLE "$wipe$ 'n' \\" (id int);
    CREATE TABLE kind (id int, found bool, "new" text);
    INSERT INTO kind VALUES (1, true, 'x');
"""


def test_tables_with_names_special_to_plpgsql_are_cleaned(make: Make) -> None:
    server, name = make(AWKWARD)
    with database.connect(server, name) as own:
        wipe = Cleaner(own)
        own.execute("UPDATE kind SET found = false")
        own.execute("""INSERT INTO "$wipe$ 'n' \\" VALUES (1)""")
        wipe()
        assert own.execute("SELECT found FROM kind").fetchall() == [(True,)]
        assert own.execute("""SELECT FROM "$wipe$ 'n' \\" """).rowcount == 0


def test_cleaning_deletes_nothing_when_nothing_was_written(make: Make) -> None:
    server, name = make(SCHEMA)
    with database.connect(server, name) as own:
        wipe = Cleaner(own)
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


def test_cleaning_can_restore_the_state_of_another_database(make: Make) -> None:
    server, name = make(SCHEMA)
    _, fresh = make(SCHEMA)
    with database.connect(server, name) as own, database.connect(server, fresh) as like:
        own.execute(WRITES)
        Cleaner(own, State.of(like))()
        assert own.execute(STATE).fetchone() == FIRST


SHARED = """
    CREATE TYPE level AS ENUM ('low', 'high');
    CREATE VIEW families AS SELECT parent.id FROM parent JOIN child ON child.parent = parent.id;
    CREATE TABLE alembic_version (version_num text PRIMARY KEY);
    INSERT INTO alembic_version VALUES ('0007');
"""
SETTING = """
    DO $$ BEGIN
      EXECUTE format('ALTER DATABASE %I SET timezone = %L', current_database(), 'Asia/Tokyo');
    END $$
"""
KEEPING = """
    CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
    CREATE TRIGGER keep BEFORE DELETE ON audit FOR EACH ROW EXECUTE FUNCTION keep();
    ALTER TABLE audit ENABLE ALWAYS TRIGGER keep;
    INSERT INTO audit VALUES ('kept')
"""
OTHER_TEXT = """
    CREATE OR REPLACE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RETURN OLD; END $$
"""
CHANGES = {
    "a table": ("CREATE TABLE extra (id int)", "unexpected table public.extra"),
    "a dropped table": ("DROP TABLE audit", "missing table public.audit"),
    "a column": (
        "ALTER TABLE parent ADD COLUMN age int",
        "unexpected table column public.parent.age",
    ),
    "a dropped column": (
        "ALTER TABLE parent DROP COLUMN note",
        "missing table column public.parent.note",
    ),
    "a default": (
        "ALTER TABLE audit ALTER what SET DEFAULT 'x'",
        "changed table column public.audit.what",
    ),
    "a type": (
        "ALTER TABLE audit ALTER what TYPE varchar(9)",
        "changed table column public.audit.what",
    ),
    "a disabled trigger": ("ALTER TABLE child DISABLE TRIGGER note", "changed trigger"),
    "a trigger of a partition": (
        "ALTER TABLE other.event_2026 DISABLE TRIGGER note",
        "trigger note on",
    ),
    "a trigger that keeps rows": (KEEPING, "unexpected function public.keep"),
    "a check": ("ALTER TABLE audit ADD CHECK (what <> '')", "unexpected table constraint"),
    "an index": ("CREATE UNIQUE INDEX one ON audit (what)", "unexpected index"),
    "an enum label": ("ALTER TYPE level ADD VALUE 'top'", "level"),
    "a view": ("CREATE OR REPLACE VIEW families AS SELECT id FROM parent", "view public.families"),
    "a function": (OTHER_TEXT, "changed function public.note"),
    "a schema": ("CREATE SCHEMA more", "unexpected schema more"),
    "a privilege": ("GRANT SELECT ON audit TO PUBLIC", "audit"),
    "a sequence": ("ALTER SEQUENCE child_id_seq INCREMENT 5", "changed sequence"),
    "a setting of the database": (SETTING, "unexpected setting TimeZone\n  found: Asia/Tokyo"),
    "the revision": ("UPDATE alembic_version SET version_num = '0006'", "changed revision"),
    "the table of the revision": ("DROP TABLE alembic_version", "changed revision"),
}
"""Changes of a test besides rows, and the message about each."""


@pytest.fixture(scope="module")
def original(make: Make) -> tuple[str, str]:
    """A server, and the database on it that others are copied from."""
    return make(SCHEMA + SHARED)


@contextmanager
def copied(make: Make, original: tuple[str, str]) -> Iterator[tuple[IsolatedDatabase, str]]:
    """Yield a database that can be recreated, and its name."""
    server, template = original
    _, name = make("")
    with database.connect(server) as admin:
        database.drop(admin, name)
    database.clone(server, template, name)
    with IsolatedDatabase(server, name, template) as isolated:
        yield isolated, name


@pytest.mark.parametrize("case", CHANGES)
def test_a_change_besides_rows_is_named_and_the_database_recreated(
    case: str, make: Make, original: tuple[str, str]
) -> None:
    change, said = CHANGES[case]
    with copied(make, original) as (isolated, name):
        with database.connect(original[0], name) as test:
            # Clean once before, so that it is not the first reading that finds the change.
            assert isolated.clean() == []
            test.execute(WRITES)
            test.execute(change)
        assert said in "\n".join(isolated.clean())
        assert isolated.clean() == []
        with database.connect(original[0], name) as test:
            assert test.execute(STATE).fetchone() == FIRST
            test.execute(WRITES)
            assert isolated.clean() == []
            assert test.execute(STATE).fetchone() == FIRST


@pytest.mark.parametrize(
    "statement",
    [
        "TRUNCATE parent, child RESTART IDENTITY",
        "ANALYZE",
        "CREATE TEMPORARY TABLE mine (id int)",
        "ALTER SEQUENCE child_id_seq RESTART WITH 100",
        "CREATE TABLE gone (id int); DROP TABLE gone",
        "ALTER TABLE child DISABLE TRIGGER note; ALTER TABLE child ENABLE TRIGGER note",
    ],
)
def test_a_statement_that_leaves_the_schema_as_it_was_is_no_change(
    statement: str, make: Make, original: tuple[str, str]
) -> None:
    with copied(make, original) as (isolated, name):
        for _ in range(2):
            with database.connect(original[0], name) as test:
                test.execute(WRITES)
                test.execute(statement)
                assert isolated.clean() == []
                assert test.execute(STATE).fetchone() == FIRST


def test_rows_of_a_module_survive_a_schema_change_by_a_test(
    make: Make, original: tuple[str, str]
) -> None:
    with copied(make, original) as (isolated, name):
        with database.connect(original[0], name) as test:
            test.execute(WRITES)
            before = test.execute(STATE).fetchone()
        with isolated.keeping():
            with database.connect(original[0], name) as test:
                test.execute(f"CREATE TABLE extra (id int); {WRITES}")
            assert "unexpected table public.extra" in isolated.clean()[0]
            with database.connect(original[0], name) as test:
                for _ in range(2):
                    assert test.execute(STATE).fetchone() == before
                    test.execute(WRITES)
                    assert isolated.clean() == []
        assert isolated.clean() == []
        with database.connect(original[0], name) as test:
            assert test.execute(STATE).fetchone() == FIRST


def test_a_change_in_a_database_without_a_template_is_reported_once(make: Make) -> None:
    server, name = make(SCHEMA)
    with IsolatedDatabase(server, name) as isolated, database.connect(server, name) as test:
        test.execute("CREATE TABLE extra (id int)")
        with pytest.raises(CleaningError, match=r"unexpected table public\.extra"):
            isolated.clean()
        assert isolated.clean() == []


def test_a_leaked_advisory_lock_is_named_and_its_connection_ended(make: Make) -> None:
    server, name = make(SCHEMA)
    with IsolatedDatabase(server, name, grace=0) as isolated:
        with database.connect(server, name) as test:
            test.execute("SELECT pg_advisory_lock(7)")
            with pytest.raises(
                AssertionError, match=r"advisory lock: SELECT pg_advisory_lock\(7\)"
            ):
                isolated.clean()
        with database.connect(server, name) as test:
            assert test.execute("SELECT pg_try_advisory_lock(7)").fetchone() == (True,)


def test_written_rows_alone_cause_no_schema_comparison(make: Make) -> None:
    server, name = make(SCHEMA)
    with database.connect(server, name) as own, database.connect(server, name) as test:
        wipe = Cleaner(own)
        wipe()

        def nothing() -> None:
            test.execute("INSERT INTO audit VALUES ('written')")
            assert not wipe()

        # The server's own ANALYZE may have run just now.
        until(nothing, 60)


def test_tables_are_not_scanned_when_nothing_was_written(make: Make) -> None:
    server, name = make(SCHEMA)
    with database.connect(server, name) as own, database.connect(server, name) as test:
        wipe = Cleaner(own)

        def unseen() -> None:
            test.execute('SELECT * FROM "Odd name"')
            assert looked(own, wipe) == 0

        # Other users of the server may write at any time.
        until(unseen, 60)
        test.execute("INSERT INTO audit VALUES ('written')")
        assert looked(own, wipe) > 0
        assert test.execute(STATE).fetchone() == FIRST


def looked(connection: Connection, wipe: Cleaner) -> int:
    """Clean; return how often that has scanned the table with seeds."""
    with connection.transaction():
        before = scans(connection)
        wipe()
        return scans(connection) - before


def scans(connection: Connection) -> int:
    """Return how often the session has scanned the table with seeds."""
    query = "SELECT pg_stat_get_xact_numscans(%s::regclass)"
    (count,) = connection.execute(query, (ODD,)).fetchone() or (0,)
    return int(count)


def test_unchanged_seed_rows_are_not_rewritten(make: Make) -> None:
    server, name = make(SCHEMA + 'INSERT INTO "Odd name" (half) SELECT generate_series(3, 500)')
    places = 'SELECT id, ctid::text FROM "Odd name" WHERE id NOT IN (7, 8) ORDER BY id'
    rows = 'SELECT "Odd name"::text FROM "Odd name" ORDER BY id'
    with database.connect(server, name) as own, database.connect(server, name) as test:
        wipe = Cleaner(own)
        first, there = test.execute(rows).fetchall(), test.execute(places).fetchall()
        for _ in range(3):
            test.execute('UPDATE "Odd name" SET half = -1 WHERE id = 7')
            test.execute('DELETE FROM "Odd name" WHERE id = 8')
            test.execute('INSERT INTO "Odd name" (half) VALUES (1)')
            wipe()
            assert test.execute(rows).fetchall() == first
            assert test.execute(places).fetchall() == there
        test.execute('TRUNCATE "Odd name"')
        wipe()
        assert test.execute(rows).fetchall() == first


def test_a_transaction_committed_after_a_cleaning_is_undone_by_the_next(make: Make) -> None:
    server, name = make(SCHEMA)
    with (
        database.connect(server, name) as own,
        database.connect(server, name) as test,
        database.connect(server, name) as other,
    ):
        wipe = Cleaner(own)
        test.execute("BEGIN")
        test.execute('UPDATE "Odd name" SET half = 9 WHERE id = 1')
        for writes in (
            "INSERT INTO audit VALUES ('x')",
            'UPDATE "Odd name" SET half = 8 WHERE id = 2',
        ):
            other.execute(writes)
            wipe()
        test.execute("COMMIT")
        wipe()
        assert other.execute(STATE).fetchone() == FIRST


def test_seed_rows_are_restored_despite_an_older_open_transaction(
    make: Make,
) -> None:
    """An older transaction in any database of a server hides who has written the rows."""
    server, name = make(SCHEMA)
    with database.connect(server, name) as elder:
        elder.execute("BEGIN")
        elder.execute("INSERT INTO audit VALUES ('open')")
        _, later = make(SCHEMA)
        with (
            database.connect(server, later) as own,
            database.connect(server, later) as test,
            database.connect(server, later) as other,
        ):
            wipe = Cleaner(own)
            test.execute("BEGIN")
            test.execute('UPDATE "Odd name" SET half = 9 WHERE id = 1')
            # Row 1 is locked, but nothing was committed to it: the cleaning must not wait.
            other.execute('UPDATE "Odd name" SET half = 8 WHERE id = 2')
            wipe()
            test.execute("ROLLBACK")
            assert other.execute(STATE).fetchone() == FIRST


def test_a_transaction_left_open_is_named_and_ended(make: Make) -> None:
    server, name = make(SCHEMA)
    with IsolatedDatabase(server, name) as isolated, database.connect(server, name) as test:
        test.execute("BEGIN")
        test.execute("INSERT INTO audit VALUES ('held')")
        with pytest.raises(AssertionError, match="INSERT INTO audit VALUES"):
            isolated.clean()
        isolated.clean()
        with pytest.raises(psycopg.OperationalError):
            test.execute("COMMIT")


SLOW_COMMIT = """
    CREATE TABLE slow (id int);
    CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM pg_advisory_xact_lock(1); RETURN NULL; END $$;
    CREATE CONSTRAINT TRIGGER dawdle AFTER INSERT ON slow
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION dawdle();
"""
WAITS = (
    "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'advisory'"
)
LOOKED = """
    SELECT FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
      AND query LIKE '%FROM pg_stat_activity%'
"""


def found(connection: Connection, query: str) -> None:
    """Wait until a query returns a row."""

    def some() -> None:
        assert connection.execute(query).rowcount

    until(some, 10)


@contextmanager
def cleaning_meets(
    make: Make, schema: str
) -> Iterator[tuple[IsolatedDatabase, Connection, Connection, ThreadPoolExecutor]]:
    """Yield the isolated database, connections of a test and of a bystander, and threads."""
    server, name = make(schema)
    with (
        # Long enough for the next step on a busy machine.
        IsolatedDatabase(server, name, grace=60) as isolated,
        database.connect(server, name) as test,
        database.connect(server, name) as other,
        ThreadPoolExecutor() as threads,
    ):
        yield isolated, test, other, threads


def test_a_commit_during_a_cleaning_is_undone_too(make: Make) -> None:
    with cleaning_meets(make, SLOW_COMMIT) as (isolated, test, gate, threads):
        gate.execute("SELECT pg_advisory_lock(1)")
        test.execute("BEGIN")
        test.execute("INSERT INTO slow VALUES (1)")
        commit = threads.submit(test.execute, "COMMIT")
        found(gate, WAITS)
        cleaning = threads.submit(isolated.clean)
        found(gate, LOOKED)
        gate.execute("SELECT pg_advisory_unlock(1)")
        commit.result()
        cleaning.result()
        assert test.execute("SELECT count(*) FROM slow").fetchone() == (0,)


def test_a_lock_released_during_a_cleaning_is_not_a_leak(make: Make) -> None:
    with cleaning_meets(make, SCHEMA) as (isolated, test, other, threads):
        test.execute(WRITES)
        test.execute("BEGIN")
        test.execute("SELECT FROM child FOR UPDATE")
        cleaning = threads.submit(isolated.clean)
        found(other, LOOKED)
        test.execute("ROLLBACK")
        cleaning.result()
        assert test.execute(STATE).fetchone() == FIRST


def test_a_lock_of_a_session_hidden_from_the_role_is_reported(make: Make) -> None:
    server, name = make(SCHEMA)
    with (
        plain(server, name) as address,
        IsolatedDatabase(address, name) as isolated,
        database.connect(server, name) as test,
    ):
        test.execute(WRITES)
        test.execute("BEGIN")
        test.execute("SELECT FROM child FOR UPDATE")
        with pytest.raises(AssertionError, match=r"may not see(.|\n)*DELETE FROM"):
            isolated.clean()
        test.execute("ROLLBACK")
        isolated.clean()
        assert test.execute(STATE).fetchone() == FIRST


def test_a_spare_clone_that_cannot_be_created_raises_an_error() -> None:
    nowhere = "postgresql://me@127.0.0.1:1"
    run = names.new_run()
    with ClonePool(nowhere, "none", run, "x") as spares, pytest.raises(InfrastructureError):
        spares.take()


def test_an_idle_connection_is_not_a_leak(make: Make) -> None:
    server, name = make(SCHEMA)
    with IsolatedDatabase(server, name) as isolated, database.connect(server, name) as test:
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

async def test_changes_the_schema(postgres_engine):
    async with postgres_engine.begin() as connection:
        await connection.execute(text("CREATE TABLE shared (id int)"))
        await connection.execute(text("ALTER TABLE alembic_version ADD COLUMN more int"))

async def test_makes_the_same_table(postgres_engine):
    async with postgres_engine.begin() as connection:
        await connection.execute(text("CREATE TABLE shared (id int)"))

async def test_sets_things(postgres_engine):
    async with postgres_engine.begin() as connection:
        assert (await connection.execute(text("SHOW search_path"))).scalar_one() != "nowhere"
        await connection.execute(text("SET search_path = nowhere"))
        await connection.execute(text("CREATE TEMPORARY TABLE mine (id int)"))

async def test_sets_things_as_well(postgres_engine):
    await test_sets_things(postgres_engine)

async def test_leaves_a_lock(postgres_engine):
    async with postgres_engine.begin() as connection:
        await connection.execute(text("SELECT pg_advisory_lock(7)"))

async def test_after_the_lock(postgres_engine):
    async with postgres_engine.begin() as connection:
        assert (await connection.execute(text("SELECT pg_try_advisory_xact_lock(7)"))).scalar_one()

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
                # Keep the order: each leak must meet the test after it, and the last has none.
                "--randomly-dont-reorganize",
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
        "test_changes_the_schema": "PASSED",
        "test_makes_the_same_table": "PASSED",
        "test_sets_things": "PASSED",
        "test_sets_things_as_well": "PASSED",
        "test_leaves_a_lock": "ERROR",
        "test_after_the_lock": "PASSED",
        "test_rolls_back": "PASSED",
        "test_rolls_back_again": "PASSED",
    }, output
    assert "kept until db.gc: postgresql+asyncpg://" in output
    warned = output[output.index("warnings summary") :]
    for test in ("test_changes_the_schema", "test_makes_the_same_table"):
        told = warned[warned.index(f"::{test}\n") :]
        assert "unexpected table public.shared" in told
        assert "hint: use `clone_url`" in told
