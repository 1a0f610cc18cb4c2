"""Obstacles to deleting rows, bypassed or named, so that no test meets another's leftovers."""

import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import psycopg
import pytest

from stratakit import database, project, pyproject
from stratakit.database import Connection, Cleaner, runs
from stratakit.database.lifecycle import Database
from stratakit.database.relations import CleaningError
from stratakit.database.cleaning import State
from stratakit.errors import AbsentError, Code
from stratakit.servers import Server
from stratakit.testing.databases import IsolatedDatabase

Make = Callable[[str], tuple[str, str]]


@contextmanager
def plain(server: str, name: str) -> Iterator[str]:
    """Give everything in a database to a role that is not a superuser; yield its URL."""
    role = f"plain_{name[-8:]}"
    with database.connect(server, name) as admin:
        admin.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{role}'")
        for (statement,) in admin.execute(GIVE.replace("ROLE", role)).fetchall():
            admin.execute(statement)
    try:
        yield psycopg.conninfo.make_conninfo(server, user=role, password=role)
    finally:
        with database.connect(server, name) as admin:
            admin.execute(f"DROP OWNED BY {role} CASCADE")
            admin.execute(f"DROP ROLE {role}")


GIVE = """
    SELECT 'ALTER SCHEMA public OWNER TO ROLE'
    UNION ALL SELECT format('ALTER TABLE %s OWNER TO ROLE', oid::regclass) FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'm')
      AND relname NOT LIKE 'theirs%'
    UNION ALL SELECT format('GRANT SELECT ON %s TO ROLE', oid::regclass) FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relname LIKE 'theirs%'
    UNION ALL SELECT format('ALTER LARGE OBJECT %s OWNER TO ROLE', oid)
    FROM pg_largeobject_metadata
"""
"""Statements that give a role all objects; those named `theirs` it may only read."""


class Case(NamedTuple):
    """A schema whose rows are hard to delete, and a test's writes to it."""

    schema: str
    writes: str
    looked_at: str
    """State that must be the same before and after."""


TABLE = """
    CREATE TABLE kept (id int);
    CREATE TABLE seed (id int);
    INSERT INTO seed VALUES (1), (2);
"""
FUNCTION = """
    CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN IF TG_OP = 'INSERT' THEN RETURN NEW; END IF; RETURN NULL; END $$;
"""
TRIGGERS = FUNCTION + "".join(
    f"CREATE TRIGGER no BEFORE INSERT OR DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION nothing();"
    f"ALTER TABLE {table} ENABLE {{0}} TRIGGER no;"
    for table in ("kept", "seed")
)
RULES = "".join(
    f"CREATE RULE no_delete AS ON DELETE TO {table} DO INSTEAD NOTHING;"
    f"CREATE RULE no_insert AS ON INSERT TO {table} DO INSTEAD NOTHING;"
    f"ALTER TABLE {table} ENABLE {{0}} RULE no_delete, ENABLE {{0}} RULE no_insert;"
    for table in ("kept", "seed")
)
POLICY = "".join(
    f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;"
    f"CREATE POLICY mine ON {table} USING (id = current_setting('app.tenant', true)::int);"
    for table in ("kept", "seed")
)
VIEWS = """
    CREATE MATERIALIZED VIEW none AS SELECT id FROM kept;
    CREATE MATERIALIZED VIEW two AS SELECT id FROM seed;
    CREATE MATERIALIZED VIEW of_two AS SELECT count(*) FROM two;
    CREATE MATERIALIZED VIEW later AS SELECT id FROM seed WITH NO DATA;
"""
# In a session that nothing in the schema can stop.
WRITES = """
    SET session_replication_role = {};
    INSERT INTO kept VALUES (7);
    UPDATE seed SET id = 8 WHERE id = 1;
    RESET session_replication_role;
"""
ROWS = """
    SELECT (SELECT array_agg(id ORDER BY id) FROM kept), (SELECT array_agg(id ORDER BY id) FROM seed),
      (SELECT array_agg(tgenabled::text) FROM pg_trigger WHERE NOT tgisinternal),
      (SELECT array_agg(ev_enabled::text) FROM pg_rewrite WHERE ev_class = 'kept'::regclass),
      (SELECT array_agg(relforcerowsecurity ORDER BY relname) FROM pg_class WHERE relkind = 'r'
       AND relnamespace = 'public'::regnamespace)
"""
LARGE = "SELECT array_agg(oid ORDER BY oid) FROM pg_largeobject_metadata"
CASES = {
    "a trigger": Case(TABLE + TRIGGERS.format(""), WRITES.format("replica"), ROWS),
    "an ALWAYS trigger": Case(TABLE + TRIGGERS.format("ALWAYS"), WRITES.format("replica"), ROWS),
    "a REPLICA trigger": Case(TABLE + TRIGGERS.format("REPLICA"), WRITES.format("origin"), ROWS),
    "a rule": Case(TABLE + RULES.format(""), WRITES.format("replica"), ROWS),
    "an ALWAYS rule": Case(
        TABLE + RULES.format("ALWAYS").replace("DO INSTEAD NOTHING;ALTER", "DO ALSO NOTHING;ALTER"),
        WRITES.format("replica"),
        ROWS,
    ),
    "a REPLICA rule": Case(TABLE + RULES.format("REPLICA"), WRITES.format("origin"), ROWS),
    "forced policies": Case(TABLE + POLICY, WRITES.format("origin"), ROWS),
    "a partition with a trigger": Case(
        FUNCTION
        + """
        CREATE TABLE whole (id int) PARTITION BY RANGE (id);
        CREATE TABLE part PARTITION OF whole FOR VALUES FROM (0) TO (9);
        CREATE TRIGGER no BEFORE DELETE ON part FOR EACH ROW EXECUTE FUNCTION nothing();
        ALTER TABLE part ENABLE ALWAYS TRIGGER no;
        """,
        "INSERT INTO whole VALUES (1)",
        "SELECT (SELECT count(*) FROM whole), (SELECT max(tgenabled::text) FROM pg_trigger)",
    ),
    "an unlogged table": Case(
        "CREATE UNLOGGED TABLE fast (id int)",
        "INSERT INTO fast VALUES (1)",
        "SELECT count(*) FROM fast",
    ),
    "large objects": Case(
        "CREATE TABLE whose (id int); SELECT lo_from_bytea(70000, 'seeded')",
        """
        SELECT lo_from_bytea(70001, 'a test');
        DO $$ BEGIN
          -- Of whoever has the rest.
          EXECUTE format('ALTER LARGE OBJECT 70001 OWNER TO %I', relowner::regrole)
            FROM pg_class WHERE relname = 'whose';
        END $$
        """,
        LARGE,
    ),
    "materialized views": Case(
        TABLE + VIEWS,
        """
        INSERT INTO kept VALUES (1);
        INSERT INTO seed VALUES (3);
        REFRESH MATERIALIZED VIEW none;
        REFRESH MATERIALIZED VIEW two;
        REFRESH MATERIALIZED VIEW of_two;
        REFRESH MATERIALIZED VIEW later;
        """,
        "SELECT (SELECT count(*) FROM none), (SELECT count(*) FROM two), (SELECT count FROM of_two),"
        " (SELECT relispopulated FROM pg_class WHERE relname = 'later')",
    ),
    "a materialized view emptied by a test": Case(
        TABLE + VIEWS,
        "REFRESH MATERIALIZED VIEW two WITH NO DATA",
        "SELECT relispopulated FROM pg_class WHERE relname = 'two'",
    ),
}


@pytest.mark.parametrize("who", ["a superuser", "a plain role"])
@pytest.mark.parametrize("case", CASES)
def test_cleaning_bypasses_and_restores_obstacles_to_deleting_rows(
    case: str, who: str, make: Make
) -> None:
    schema, writes, looked_at = CASES[case]
    server, name = make(schema)
    with ExitStack() as stack:
        address = server if who == "a superuser" else stack.enter_context(plain(server, name))
        own = stack.enter_context(database.connect(address, name))
        test = stack.enter_context(database.connect(server, name))
        wipe = Cleaner(own)
        first = test.execute(looked_at).fetchone()
        for _ in range(2):
            test.execute(writes)
            assert test.execute(looked_at).fetchone() != first
            wipe()
            assert test.execute(looked_at).fetchone() == first


class Lack(NamedTuple):
    """A schema that a plain role cannot clean, a test's writes, and the message about it."""

    schema: str
    writes: str
    said: str


ONLY_WRITTEN = {
    "missing rights": Lack(
        "CREATE TABLE theirs (id int)", "INSERT INTO theirs VALUES (1)", "public.theirs"
    ),
    "a rule": Lack(
        "CREATE TABLE theirs (id int); CREATE RULE no AS ON DELETE TO theirs DO INSTEAD NOTHING;"
        " GRANT INSERT, DELETE ON theirs TO PUBLIC",
        "INSERT INTO theirs VALUES (1)",
        "public.theirs was written to, and only its owner may disable its triggers and rules",
    ),
    "a large object of another role": Lack(
        "", "SELECT lo_from_bytea(70002, 'a test')", "large object 70002"
    ),
    "a large object written by migrations": Lack(
        "SELECT lo_from_bytea(70003, 'seeded')", "SELECT lo_put(70003, 0, 'x')", "large objects"
    ),
}


@pytest.mark.parametrize("case", ONLY_WRITTEN)
def test_data_that_a_role_cannot_clean_is_named_once_a_test_writes_to_it(
    case: str, make: Make
) -> None:
    schema, writes, said = ONLY_WRITTEN[case]
    server, name = make(f"{TABLE} {schema}")
    with (
        plain(server, name) as address,
        IsolatedDatabase(address, name) as isolated,
        database.connect(server, name) as test,
    ):
        test.execute("INSERT INTO kept VALUES (1)")
        isolated.clean()
        assert test.execute("SELECT count(*) FROM kept").fetchone() == (0,)
        test.execute(writes)
        with pytest.raises(CleaningError) as refusal:
            isolated.clean()
        assert refusal.value.code is Code.CONFIGURATION
        assert said in refusal.value.message
        assert refusal.value.hint


BLIND = {
    "policies of another role": (
        "CREATE TABLE theirs (id int); ALTER TABLE theirs ENABLE ROW LEVEL SECURITY",
        r"public\.theirs cannot be cleaned: its policies hide rows",
    ),
    "no right to read": (
        "CREATE SCHEMA other; CREATE TABLE other.secret (id int)",
        r"other\.secret cannot be cleaned: the role \w+ may not read it",
    ),
}


@pytest.mark.parametrize("case", BLIND)
def test_a_table_hidden_from_the_role_is_named_unless_listed_as_uncleaned(
    case: str, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    schema, said = BLIND[case]
    server, name = make(TABLE + schema)
    with plain(server, name) as address, database.connect(address, name) as own:
        with pytest.raises(CleaningError, match=said) as refusal:
            Cleaner(own)
        table = refusal.value.message.partition(" ")[0]
        assert f'uncleaned = ["{table}"]' in refusal.value.hint
        monkeypatch.setitem(pyproject.table(), "uncleaned", [table])
        Cleaner(own)()


def foreign(connection: Connection) -> None:
    """Make tables whose rows are in another database.

    Raises:
        AbsentError: the server has no extension for that.
    """
    query = "SELECT FROM pg_available_extensions WHERE name = 'postgres_fdw'"
    if not connection.execute(query).rowcount:
        raise AbsentError("this server has no postgres_fdw", part="postgres_fdw")
    connection.execute("""
        CREATE EXTENSION postgres_fdw;
        CREATE SERVER elsewhere FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '127.0.0.1', port '1');
        CREATE FOREIGN TABLE remote (id int) SERVER elsewhere;
        CREATE TABLE whole (id int) PARTITION BY RANGE (id);
        CREATE FOREIGN TABLE part PARTITION OF whole FOR VALUES FROM (0) TO (9) SERVER elsewhere;
        CREATE FOREIGN TABLE fixed (id int) SERVER elsewhere OPTIONS (updatable 'false');
    """)


def test_a_foreign_table_is_named_unless_listed_as_uncleaned(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, name = make(TABLE)
    with database.connect(server, name) as own:
        foreign(own)
        left: list[str] = []
        monkeypatch.setitem(pyproject.table(), "uncleaned", left)
        for table in ("public.remote", "public.whole"):
            with pytest.raises(
                CleaningError, match=f"{table} cannot be cleaned: .* another server"
            ):
                Cleaner(own)
            left.append(table)
        Cleaner(own)()


@pytest.fixture
def plain_database(make: Make, tmp_path: Path) -> Iterator[Database]:
    """Test database of a plain role, with a table with policies that a superuser has created."""
    server, _ = make("")
    role = f"plain_{secrets.token_hex(3)}"
    known = project.services()[0]
    # Use a template of its own: another role's may not be copied.
    shutil.copytree(known.path / "migrations", tmp_path / "migrations")
    shutil.copy(known.path / "pyproject.toml", tmp_path)
    (tmp_path / "migrations" / "different.py").write_text(f'"""{role}"""\n')
    service = replace(known, name=f"x{secrets.token_hex(3)}", path=tmp_path)
    with database.connect(server) as admin:
        admin.execute(f"CREATE ROLE {role} LOGIN CREATEDB PASSWORD '{role}'")
        address = psycopg.conninfo.make_conninfo(server, user=role, password=role)
        it = Database(Server("postgres", address, "embedded", "", owned=True), service)
        it.setup()
        with database.connect(server, it.name) as own:
            own.execute("CREATE TABLE theirs AS SELECT 1 AS id")
            own.execute("ALTER TABLE theirs ENABLE ROW LEVEL SECURITY")
        yield it
        it.drop(force=True)
        with database.connect(address) as own:
            runs.drop(own, runs.template(address, service))
        admin.execute(f"DROP ROLE {role}")


def test_clean_names_a_table_it_cannot_clean_and_reset_recreates_the_database(
    plain_database: Database,
) -> None:
    with pytest.raises(
        CleaningError, match=r"public\.theirs cannot be cleaned: the role \w+ may not"
    ):
        plain_database.clean()
    plain_database.reset()
    plain_database.clean()


def test_a_sequence_that_a_test_created_restarts_at_its_start_value(make: Make) -> None:
    server, name = make(TABLE)
    _, fresh = make(TABLE)
    with database.connect(server, name) as own, database.connect(server, fresh) as like:
        own.execute("CREATE SEQUENCE more START 5")
        own.execute("SELECT nextval('more'), nextval('more')")
        Cleaner(own, State.of(like))()
        assert own.execute("SELECT nextval('more')").fetchone() == (5,)
