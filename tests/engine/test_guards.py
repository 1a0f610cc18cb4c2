"""Guards of destructive actions: allowed targets, and refusals that touch nothing."""

import os
import secrets
import socket
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from stratakit import database, names, project, pyproject, servers, settings
from stratakit.database import contents, guards, lifecycle, runs, stamps
from stratakit.database.connection import Holder
from stratakit.database.contents import Contents
from stratakit.errors import Code, ConfigurationError, InfrastructureError
from stratakit.servers import Server, home, external
from stratakit.servers.waiting import until

from . import clusters


def stamped(*stamps_: str, own: bool = True) -> stamps.Facts:
    """Return a server's facts about an existing database with these stamps."""
    marks = tuple(stamps.Mark(stamp, own, "UNDO") for stamp in stamps_)
    return stamps.Facts(oid=1, recovering=False, marks=marks)


SAFE = guards.DatabaseInfo(
    name=f"{names.prefix()}_x_test",
    owned=False,
    host="127.0.0.1",
    facts=stamped(stamps.TEST),
    pooled=False,
    sessions=(),
    contents=lambda: Contents({"table": 3}, size=0),
)
RECOVERING = stamped(stamps.TEST)._replace(recovering=True)
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a remote host": ({"host": "10.1.2.3"}, "neither this machine nor on the allow list"),
    "a host name": ({"host": "db.example.com"}, "destroyable_hosts"),
    "production's name": ({"name": "production"}, "not one of this project's test databases"),
    "another project's name": ({"name": "other_x_test"}, "not one of this project's"),
    "a wrong checksum": ({"name": f"{names.prefix()}_0a1b2c3d_x_00000000"}, "not one of"),
    **{
        f"the stamp {stamp!r}{where}": (
            {"facts": stamped(stamp), "contents": lambda: Contents({}, 0), **owned},
            f"it is stamped as {stamp}",
        )
        for stamp in ("production", "Production", "PROD", "production ", "staging", "live", "Test")
        for where, owned in {"": {}, " on our server": {"owned": True}}.items()
    },
    "the stamp of dev": ({"facts": stamped(stamps.DEV)}, "it is stamped as dev"),
    "a test's stamp for dev": ({"purpose": stamps.DEV, "owned": True}, "stamped as test"),
    "the name of dev": ({"name": f"{names.prefix()}_x_dev"}, "not one of this project's test"),
    "a test's name for dev": (
        {"purpose": stamps.DEV, "facts": stamped(stamps.DEV)},
        "not one of this project's dev databases",
    ),
    "dev on a remote host": (
        {
            "purpose": stamps.DEV,
            "facts": stamped(stamps.DEV),
            "name": f"{names.prefix()}_x_dev",
            "host": "10.1.2.3",
        },
        "neither this machine nor on the allow list",
    ),
    "dev with tables and no stamp": (
        {"purpose": stamps.DEV, "facts": stamped(), "name": f"{names.prefix()}_x_dev"},
        "not stamped as a dev database",
    ),
    "two stamps": ({"facts": stamped("test", "production")}, "it is stamped as production"),
    "tables and no stamp": ({"facts": stamped()}, "not stamped as a test database"),
    "one function and no stamp": (
        {"facts": stamped(), "contents": lambda: Contents({"function": 1}, 0)},
        ": 1 function, 0.0 MB: it is not empty",
    ),
    "a stamp set by somebody else": (
        {"facts": stamped(stamps.TEST, own=False)},
        "not stamped as a test database",
    ),
    "a database of another service": (
        {"facts": stamped(stamps.TEST)._replace(owner="other/x"), "user": "this/x"},
        "belongs to the service other/x",
    ),
    "a database of a similarly named project on our server": (
        {"facts": stamped(stamps.TEST)._replace(owner="a_b/x"), "user": "a-b/x", "owned": True},
        "this is a-b/x",
    ),
    "a replica": ({"facts": RECOVERING}, "replica or is recovering"),
    "a replica of ours": ({"facts": RECOVERING, "owned": True}, "replica or is recovering"),
    "a pooler": ({"pooled": True}, "pooler in transaction mode"),
    "other sessions": ({"sessions": ("psql as me from ::1",)}, "psql as me from ::1"),
    "other sessions on our server": ({"sessions": ("psql as me",), "owned": True}, "--force"),
}
ALLOWED: dict[str, dict[str, Any]] = {
    "a test database": {},
    "the other loopback": {"host": "::1"},
    "a socket": {"host": "/run/postgresql"},
    "a database of the same service": {
        "facts": stamped(stamps.TEST)._replace(owner="a/x"),
        "user": "a/x",
    },
    "a database without a recorded owner": {"user": "a/x"},
    "an empty database without a stamp": {
        "facts": stamped(),
        "contents": lambda: Contents({}, 0),
    },
    "a database stamped between two inspections": {
        "facts": stamped(),
        "contents": lambda: Contents({"table": 3}, 0, stamped(stamps.TEST)),
    },
    "a missing database": {"facts": stamped()._replace(oid=None)},
    "a database without a stamp on our server": {
        "owned": True,
        "name": "x",
        "facts": stamped(),
        "host": "10.0.0.1",
    },
    "a dev database, if dev is requested": {
        "name": f"{names.prefix()}_x_dev",
        "facts": stamped(stamps.DEV),
        "purpose": stamps.DEV,
    },
}


@pytest.mark.parametrize("case", REFUSED)
def test_an_unsafe_target_is_refused(case: str) -> None:
    change, reason = REFUSED[case]
    with pytest.raises(ConfigurationError) as refusal:
        guards.check(replace(SAFE, **change))
    assert refusal.value.code is Code.CONFIGURATION
    assert reason in str(refusal.value)
    assert refusal.value.hint


@pytest.mark.parametrize("case", ALLOWED)
def test_a_safe_target_is_allowed(case: str) -> None:
    guards.check(replace(SAFE, **ALLOWED[case]))


@pytest.mark.parametrize("case", REFUSED)
def test_force_overrides_only_the_refusal_for_other_sessions(case: str) -> None:
    target = replace(SAFE, **REFUSED[case][0])
    if target.sessions:
        guards.check(target, force=True)
        return
    with pytest.raises(ConfigurationError):
        guards.check(target, force=True)


def test_a_host_is_allowed_by_its_address_or_by_a_name_that_resolves_to_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    target = replace(SAFE, host="10.1.2.3")
    found = {"db.example": ["10.9.9.9", "10.1.2.3"], "other.example": ["10.1.2.4"]}

    def resolve(name: str, *_: object, **__: object) -> list[tuple[object, ...]]:
        if name not in found:
            raise socket.gaierror(name)
        return [(None, None, None, "", (each, 0)) for each in found[name]]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    for listed in (["10.1.2.3"], ["gone.example", "db.example"]):
        monkeypatch.setitem(pyproject.table(), "destroyable_hosts", listed)
        guards.check(target)
    for listed in (["10.1.2.4"], ["gone.example", "other.example"], []):
        monkeypatch.setitem(pyproject.table(), "destroyable_hosts", listed)
        with pytest.raises(ConfigurationError, match="nor on the allow list"):
            guards.check(target)


def test_a_prepared_transaction_blocks_destruction_even_with_force() -> None:
    target = replace(SAFE, owned=True, prepared=(Holder("prepared 'it'", "END 'it'"),))
    guards.check(target)
    with pytest.raises(InfrastructureError, match=r"committed: prepared 'it'\n.*\(END 'it'\)"):
        guards.check(target, force=True, rules=guards.DESTROYING)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server that is taken for somebody else's, on a host that is on the allow list."""
    with servers.lease(settings.load(), ("postgres",)) as up, pytest.MonkeyPatch.context() as patch:
        address = up["postgres"].url
        with database.connect(address) as connection:
            # If Docker runs on another machine, a container's address is not a loopback one.
            patch.setitem(pyproject.table(), "destroyable_hosts", [connection.info.hostaddr])
        yield replace(up["postgres"], source="url", owned=False)


@pytest.fixture
def admin(server: Server) -> Iterator[database.Connection]:
    with database.connect(server.url) as connection:
        yield connection


@pytest.fixture
def service_database(server: Server) -> Iterator[lifecycle.Database]:
    """The test database of a service that only this test uses."""
    known = project.services()[0]
    service = replace(known, name=f"x{secrets.token_hex(3)}")
    mine = lifecycle.Database(server, service)
    yield mine
    remove(server, mine.name)


def remove(server: Server, name: str) -> None:
    with database.connect(server.url) as connection:
        connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def fill(server: Server, name: str) -> None:
    with database.connect(server.url, name) as connection:
        connection.execute("CREATE TABLE precious AS SELECT 1 AS one")


def precious(server: Server, name: str) -> bool:
    with database.connect(server.url, name) as connection:
        return connection.execute("SELECT one FROM precious").fetchone() == (1,)


DESTRUCTIVE: dict[str, Callable[[lifecycle.Database], object]] = {
    "drop": lambda service_database: service_database.drop(),
    "reset": lambda service_database: service_database.reset(),
    "clean": lambda service_database: service_database.clean(),
    "rollback": lambda service_database: service_database.rollback(),
}
CHANGING: dict[str, Callable[[lifecycle.Database], object]] = {
    **DESTRUCTIVE,
    "setup": lambda service_database: service_database.setup(),
    "create": lambda service_database: service_database.create(),
    "migrate": lambda service_database: service_database.migrate(),
    "seed": lambda service_database: service_database.seed(),
    "snapshot": lambda service_database: service_database.snapshot("x"),
}


@pytest.mark.parametrize("action", CHANGING)
@pytest.mark.parametrize("stamp", ["production", "staging", None])
def test_every_action_refuses_a_database_without_a_test_stamp(
    action: str, stamp: str | None, service_database: lifecycle.Database, admin: database.Connection
) -> None:
    admin.execute(f'CREATE DATABASE "{service_database.name}"')
    fill(service_database.server, service_database.name)
    if stamp:
        admin.execute(
            f"ALTER DATABASE \"{service_database.name}\" SET strata.environment = '{stamp}'"
        )
    with pytest.raises(ConfigurationError, match="stamped"):
        CHANGING[action](service_database)
    assert precious(service_database.server, service_database.name)
    assert service_database.inspect().facts.stamp == stamp


MARKS = {
    "a setting": "ALTER DATABASE {name} SET strata.environment = 'production'",
    "a setting written otherwise": "ALTER DATABASE {name} SET strata.environment = 'PROD'",
    "a setting with a space": "ALTER DATABASE {name} SET strata.environment = 'test '",
    "a setting by the former name": "ALTER DATABASE {name} SET ops.environment = 'production'",
    "one role's setting": "ALTER ROLE {role} IN DATABASE {name} SET strata.environment = 'production'",
    "the stamp as a comment": "COMMENT ON DATABASE {name} IS 'strata.environment=production'",
    "a comment by the former name": "COMMENT ON DATABASE {name} IS 'ops.environment=production'",
    "a comment in lines": "COMMENT ON DATABASE {name} IS E'Ours.\n OPS.Environment = live \nX'",
    "a plain comment": "COMMENT ON DATABASE {name} IS ' Production '",
    "a setting of the role": "ALTER ROLE {role} SET strata.environment = 'staging'",
}
"""Settings that protect a database, whatever else it says."""


@pytest.mark.parametrize("mark", MARKS)
@pytest.mark.parametrize("owned", [False, True], ids=["theirs", "ours"])
def test_every_action_refuses_a_protecting_stamp_until_its_hint_is_followed(
    mark: str,
    service_database: lifecycle.Database,
    limited: Server,
    admin: database.Connection,
    *,
    owned: bool,
) -> None:
    role = str(conninfo_to_dict(limited.url)["user"])
    admin.execute(f"ALTER ROLE {role} SUPERUSER")
    service_database.create()
    assert service_database.inspect().facts.stamp == stamps.TEST
    admin.execute(MARKS[mark].format(name=service_database.name, role=role))
    mine = lifecycle.Database(replace(limited, owned=owned), service_database.service)
    for change in CHANGING.values():
        with pytest.raises(ConfigurationError, match="it is stamped as ") as refusal:
            change(mine)
    assert service_database.inspect().exists
    # The statement in the message lifts the protection.
    admin.execute(refusal.value.hint.partition("say so: ")[2])
    if "role" not in mark:
        admin.execute(f"ALTER DATABASE {service_database.name} SET strata.environment = 'test'")
    mine.migrate()
    admin.execute(f"ALTER DATABASE {service_database.name} OWNER TO CURRENT_USER")
    service_database.drop()
    admin.execute(f"REASSIGN OWNED BY {role} TO CURRENT_USER")


OBJECTS = {
    "1 table": "CREATE TABLE it (one int PRIMARY KEY, two text CHECK (two <> ''))",
    "1 table, 1 sequence": "CREATE TABLE a (one serial); CREATE SEQUENCE its",
    "2 tables": "CREATE TABLE a (i int) PARTITION BY LIST (i);"
    "CREATE TABLE b PARTITION OF a DEFAULT",
    "1 view": "CREATE VIEW it AS SELECT 1 AS one",
    "1 materialized view": "CREATE MATERIALIZED VIEW it AS SELECT 1 AS one",
    "1 sequence": "CREATE SEQUENCE it",
    "2 large objects": "SELECT lo_from_bytea(0, 'x'), lo_from_bytea(0, 'y')",
    "1 function": "CREATE FUNCTION it() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "1 procedure": "CREATE PROCEDURE it() LANGUAGE sql AS 'SELECT 1'",
    "1 aggregate": "CREATE AGGREGATE it (int) (SFUNC = int4pl, STYPE = int)",
    "1 type": "CREATE TYPE it AS ENUM ('one')",
    "2 types": "CREATE DOMAIN it AS int; CREATE TYPE other AS (one int)",
    "1 schema": "CREATE SCHEMA it",
    "1 publication": "CREATE PUBLICATION it",
    "1 function, 1 event trigger": "CREATE FUNCTION it() RETURNS event_trigger LANGUAGE plpgsql"
    " AS 'BEGIN END'; CREATE EVENT TRIGGER it ON ddl_command_end EXECUTE FUNCTION it()",
    "1 foreign table, 1 foreign data wrapper, 1 foreign server": "CREATE FOREIGN DATA WRAPPER it;"
    "CREATE SERVER it FOREIGN DATA WRAPPER it; CREATE FOREIGN TABLE it (one int) SERVER it",
    "1 collation": 'CREATE COLLATION it FROM "C"',
    "1 text search dictionary": "CREATE TEXT SEARCH DICTIONARY it (TEMPLATE = simple)",
    "1 default privilege": "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC",
    "1 operator": "CREATE OPERATOR ### (FUNCTION = int4pl, LEFTARG = int, RIGHTARG = int)",
    "1 cast": "CREATE CAST (text AS bytea) WITHOUT FUNCTION",
}


@pytest.mark.parametrize("held", OBJECTS)
def test_an_object_of_any_kind_makes_a_database_not_empty(
    held: str, service_database: lifecycle.Database, admin: database.Connection
) -> None:
    admin.execute(f'CREATE DATABASE "{service_database.name}" TEMPLATE template0')
    with database.connect(service_database.server.url, service_database.name) as own:
        own.execute(OBJECTS[held])
    for action in ("create", "setup", "drop", "reset"):
        with pytest.raises(ConfigurationError, match=f": {held}, .* MB: it is not empty"):
            CHANGING[action](service_database)
    found = service_database.inspect()
    assert found.exists
    assert found.facts.stamp is None


def test_the_public_schema_and_temporary_tables_leave_a_database_empty(
    service_database: lifecycle.Database, admin: database.Connection
) -> None:
    admin.execute(f'CREATE DATABASE "{service_database.name}"')
    with database.connect(service_database.server.url, service_database.name) as own:
        own.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        own.execute("CREATE TEMPORARY TABLE passing (one serial)")
        assert service_database.inspect().contents().held == {}
    service_database.create()
    assert service_database.inspect().facts.stamp == stamps.TEST


def test_a_function_from_template1_does_not_count_as_content_but_a_table_does() -> None:
    with clusters.cluster("127.0.0.1", clusters.free_port("127.0.0.1")) as address:
        with database.connect(address, "template1") as site:
            site.execute("CREATE FUNCTION everywhere() RETURNS int LANGUAGE sql AS 'SELECT 1'")
            site.execute("CREATE TABLE filled (one int)")
        with database.connect(address) as admin:
            admin.execute("CREATE DATABASE new")
            found = guards.inspect(
                admin, Server("postgres", address, "url", "", owned=False), "new"
            )
            # The table counts, since somebody may have put rows into it.
            assert found.contents().held == {"table": 1}


def test_a_database_is_not_dropped_while_its_contents_are_shown(
    service_database: lifecycle.Database, admin: database.Connection
) -> None:
    service_database.create()
    with ThreadPoolExecutor(1) as pool, service_database.unchanged() as found:
        dropping = pool.submit(service_database.drop)

        def waits() -> None:
            held = admin.execute("SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
            assert held.rowcount

        until(waits, contents.GRACE * 20)
        assert found.contents().held == {}
        assert service_database.exists()
    assert dropping.result()
    assert not service_database.exists()


def test_a_blocked_inspection_of_a_dropped_database_finds_no_contents(
    service_database: lifecycle.Database, admin: database.Connection
) -> None:
    service_database.create()
    with (
        ThreadPoolExecutor(1) as pool,
        closing(database.connect(service_database.server.url, service_database.name)) as busy,
    ):
        busy.execute("BEGIN; LOCK TABLE pg_publication IN ACCESS EXCLUSIVE MODE")
        looking = pool.submit(service_database.inspect().contents)

        def waits_for_long() -> None:
            waiting = admin.execute(
                "SELECT FROM pg_stat_activity WHERE datname = %s AND wait_event_type = 'Lock'"
                " AND clock_timestamp() - query_start > %s * interval '1 s'",
                (service_database.name, contents.GRACE),
            )
            assert waiting.rowcount == 1

        until(waits_for_long, contents.GRACE * 20)
        admin.execute(guards.DROP.format(sql.Identifier(service_database.name)))
        assert looking.result().held == {}


@pytest.mark.parametrize("action", DESTRUCTIVE)
def test_a_destructive_action_is_refused_and_names_other_sessions(
    action: str, service_database: lifecycle.Database
) -> None:
    service_database.create()
    fill(service_database.server, service_database.name)
    address = psycopg.conninfo.make_conninfo(
        service_database.server.url, application_name="somebody"
    )
    with database.connect(address, service_database.name) as other:
        with pytest.raises(ConfigurationError, match=r"somebody as .* from"):
            DESTRUCTIVE[action](service_database)
        assert other.execute("SELECT one FROM precious").fetchone() == (1,)


def test_force_ends_other_sessions(service_database: lifecycle.Database) -> None:
    for action in (
        service_database.clean,
        service_database.reset,
        service_database.rollback,
        service_database.drop,
    ):
        service_database.setup()
        with database.connect(service_database.server.url, service_database.name) as other:
            action(force=True)
            with pytest.raises(psycopg.OperationalError):
                other.execute("SELECT 1")


def test_sessions_hidden_from_the_role_stop_destructive_actions(
    service_database: lifecycle.Database, limited: Server, admin: database.Connection
) -> None:
    role = conninfo_to_dict(limited.url)["user"]
    admin.execute(f"ALTER ROLE {role} CREATEDB")
    mine = replace(service_database, server=limited)
    mine.setup()
    with database.connect(service_database.server.url, service_database.name) as other:
        other.execute(f"SET application_name = 'somebody {role}'")
        for action in (mine.clean, mine.reset, mine.rollback, mine.drop):
            with pytest.raises(ConfigurationError, match="others are connected to it:"):
                action()
        other.execute("SELECT 1")
    mine.drop()


def test_a_session_that_is_ending_causes_no_refusal(service_database: lifecycle.Database) -> None:
    service_database.setup()
    for _ in range(10):
        database.connect(service_database.server.url, service_database.name).close()
        guards.check(service_database.inspect())


def test_a_normal_server_is_neither_recovering_nor_behind_a_pooler(
    service_database: lifecycle.Database,
) -> None:
    service_database.create()
    found = service_database.inspect()
    assert not found.facts.recovering
    assert not found.pooled
    assert found.exists
    assert found.facts.stamp == stamps.TEST
    assert found.host


def test_a_database_with_a_wrong_checksum_in_its_name_is_not_dropped(
    server: Server, admin: database.Connection
) -> None:
    right = names.database(names.new_run(), "x")
    wrong = right[:-1] + ("0" if right[-1] != "0" else "1")
    assert names.is_ours(right)
    assert not names.is_ours(wrong)
    admin.execute(f'CREATE DATABASE "{wrong}"')
    fill(server, wrong)
    try:
        with pytest.raises(ConfigurationError, match="was not made by this project"):
            runs.drop(admin, wrong)
        runs.sweep(admin)
        runs.prune(server.url)
        assert precious(server, wrong)
    finally:
        remove(server, wrong)


@pytest.mark.parametrize("name", ["postgres", "template1", "production", ""])
def test_a_database_with_a_foreign_name_is_not_dropped(
    name: str, admin: database.Connection
) -> None:
    with pytest.raises(ConfigurationError):
        runs.drop(admin, name)


def test_another_projects_names_are_not_ours() -> None:
    ours = names.database("0a1b2c3d", "main")
    assert not names.is_ours(ours.replace(names.prefix(), "other", 1))
    assert not names.is_ours("x" + ours)


def with_url(monkeypatch: pytest.MonkeyPatch, address: str) -> settings.Settings:
    monkeypatch.setenv("STRATA_SERVERS", "url")
    monkeypatch.setenv("TEST_DATABASE_URL", address)
    return settings.load()


REDIRECTING_OPTIONS = {
    "postgresql://me:secret@localhost/postgres?hostaddr=10.1.2.3": "has the option hostaddr=",
    "postgresql://me:secret@localhost/postgres?service=production": "has the option service=",
    "postgresql://me:secret@localhost/x?target_session_attrs=standby": "target_session_attrs=",
    "postgresql://me:secret@localhost/x?options=-c%20role%3Dx": "has the option options=",
    "postgresql://me:secret@localhost/x?load_balance_hosts=random": "load_balance_hosts=",
    "postgresql://me:secret@localhost/x?replication=database": "has the option replication=",
    "postgresql://me:secret@localhost,db.example.com/postgres": "names several hosts",
    "postgresql://me:secret@/postgres?host=localhost,db.example.com": "names several hosts",
    "postgresql://me:secret@/postgres": "names no host",
}


@pytest.mark.parametrize("address", REDIRECTING_OPTIONS)
def test_a_url_with_a_redirecting_option_or_without_one_host_is_refused(
    address: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "services"
    file.write_text("[production]\nhost=10.1.2.3\n")
    monkeypatch.setenv("PGSERVICEFILE", str(file))
    monkeypatch.setenv("PGHOST", "10.1.2.3")
    chosen = with_url(monkeypatch, address)
    with (
        pytest.raises(ConfigurationError, match=REDIRECTING_OPTIONS[address]) as refusal,
        servers.lease(chosen, ("postgres",)),
    ):
        pass
    assert refusal.value.code is Code.CONFIGURATION
    assert "secret" not in str(refusal.value).split("hint:")[0]


@pytest.mark.parametrize("variable", ["PGHOSTADDR", "PGSERVICE"])
def test_an_environment_variable_that_redirects_a_url_is_refused(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "10.1.2.3")
    chosen = with_url(monkeypatch, "postgresql://me:secret@localhost:1/postgres")
    with (
        pytest.raises(ConfigurationError, match=f"{variable}=10.1.2.3") as refusal,
        servers.lease(chosen, ("postgres",)),
    ):
        pass
    assert refusal.value.hint == f"unset {variable}"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PGHOST", "10.1.2.3"),
        ("PGPORT", "1"),
        ("PGHOSTADDR", "10.1.2.3"),
        ("PGSERVICE", "elsewhere"),
    ],
)
def test_libpq_variables_do_not_redirect_connections_to_our_servers(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    with servers.lease(settings.load(), ("postgres",)) as up:
        database.connect(up["postgres"].url).close()


def test_the_guards_judge_the_host_in_the_options_of_a_url(server: Server) -> None:
    parts = conninfo_to_dict(server.url)
    user, password = quote(str(parts["user"])), quote(str(parts.get("password", "")))
    reached = quote(str(parts["host"]), safe="")
    port = parts.get("port", 5432)
    detour = f"postgresql://{user}:{password}@10.1.2.3:{port}/postgres?host={reached}"
    with database.connect(detour) as connection:
        found = guards.inspect(connection, replace(server, url=detour), "nothing")
    assert found.host != "10.1.2.3"
    # The drivers of services connect to the same host as libpq.
    assert "10.1.2.3" not in database.url(detour, "x").render_as_string()


def test_an_unreachable_server_is_an_infrastructure_error_without_the_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chosen = with_url(monkeypatch, "postgresql://me:secret@127.0.0.1:1/postgres")
    with (
        pytest.raises(InfrastructureError, match="does not answer") as refusal,
        servers.lease(chosen, ("postgres",)),
    ):
        pass
    assert refusal.value.code is Code.INFRASTRUCTURE
    assert ":secret@127" not in str(refusal.value)


def test_a_wrong_password_is_an_infrastructure_error_without_the_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    host = "127.0.0.1"
    with clusters.cluster(host, clusters.free_port(host)) as address:
        with database.connect(address) as site:
            (rules,) = site.execute("SHOW hba_file").fetchone() or ("",)
            site.execute(f"COPY (SELECT 'host all all all scram-sha-256') TO '{rules}'")
            site.execute("CREATE ROLE me LOGIN PASSWORD 'right'; SELECT pg_reload_conf()")

        def asks_for_a_password() -> None:
            with pytest.raises(psycopg.OperationalError, match="no password supplied"):
                psycopg.connect(address)

        until(asks_for_a_password, 10)
        right = address.replace("postgres@", "me:right@")
        with servers.lease(with_url(monkeypatch, right), ("postgres",)):
            pass
        chosen = with_url(monkeypatch, right.replace("right", "secret"))
        with (
            pytest.raises(InfrastructureError, match="password authentication failed") as refusal,
            servers.lease(chosen, ("postgres",)),
        ):
            pass
    assert refusal.value.code is Code.INFRASTRUCTURE
    assert "correct TEST_DATABASE_URL" in refusal.value.hint
    assert "secret" not in str(refusal.value)


def test_an_asyncpg_url_translates_sslmode_and_drops_connect_timeout() -> None:
    given = "host=db.example.com connect_timeout=5 sslmode=require"
    assert dict(database.url(given, "x").query) == {"ssl": "require"}


@pytest.fixture
def pooler(server: Server) -> Iterator[Callable[[str], str]]:
    """Start pgbouncer in front of the server, in a mode; return its URL."""
    parts = conninfo_to_dict(server.url)
    to = " ".join(
        f"{key}={parts[key]}" for key in ("host", "port", "user", "password") if key in parts
    )
    with ExitStack() as stack:
        yield lambda mode: stack.enter_context(clusters.pooler(f"* = {to}", mode))


def test_a_pooler_in_transaction_mode_is_refused(
    pooler: Callable[[str], str], server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = pooler("transaction")
    chosen = with_url(monkeypatch, address)
    with (
        pytest.raises(ConfigurationError, match="pooler in transaction mode"),
        servers.lease(chosen, ("postgres",)),
    ):
        pass
    with database.connect(address) as connection:
        assert guards.inspect(connection, replace(server, url=address), "nothing").pooled


def test_a_pooler_in_session_mode_counts_as_a_server(pooler: Callable[[str], str]) -> None:
    assert not external.pooled(pooler("session"))


def test_a_socket_folder_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "theirs")
    with pytest.raises(InfrastructureError, match="not a folder of ours"):
        home.private(link)
    assert list((tmp_path / "theirs").iterdir()) == []


@pytest.mark.parametrize("kind", ["file", "dangling link", "open to others"])
def test_a_socket_folder_that_others_could_use_is_refused(kind: str, tmp_path: Path) -> None:
    folder = tmp_path / "it"
    if kind == "file":
        folder.touch()
    elif kind == "dangling link":
        folder.symlink_to(tmp_path / "nowhere")
    else:
        folder.mkdir()
        folder.chmod(0o777)
    with pytest.raises(InfrastructureError, match="not a folder of ours"):
        home.private(folder)
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a folder that is another's")
def test_a_socket_folder_of_another_user_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "it"
    folder.mkdir(mode=0o700)
    os.chown(folder, 12345, -1)
    with pytest.raises(InfrastructureError, match="not a folder of ours"):
        home.private(folder)


def test_a_private_socket_folder_is_created_and_reused(tmp_path: Path) -> None:
    folder = home.private(tmp_path / "a" / "b")
    assert home.private(folder) == folder
    assert folder.stat().st_mode & 0o777 == 0o700


@pytest.fixture
def limited(server: Server, admin: database.Connection) -> Iterator[Server]:
    """The server, as seen by a role that may not create databases."""
    role = f"limited_{secrets.token_hex(3)}"
    admin.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{role}'")
    address = psycopg.conninfo.make_conninfo(server.url, user=role, password=role)
    yield replace(server, url=address)
    admin.execute(f"DROP ROLE {role}")


def test_a_run_creates_no_database_for_a_role_stamped_as_production(
    limited: Server, admin: database.Connection
) -> None:
    role = conninfo_to_dict(limited.url)["user"]
    admin.execute(f"ALTER ROLE {role} CREATEDB")
    admin.execute(f"ALTER ROLE {role} SET strata.environment = 'production'")
    with database.run(limited.url) as run:
        name = names.database(run, "main")
        with pytest.raises(ConfigurationError, match=r"refused to create .*stamped as production"):
            database.clone(limited.url, "template0", name)
        assert name not in runs.databases(admin)


def test_a_stamped_database_of_a_dead_run_is_kept(
    server: Server, admin: database.Connection
) -> None:
    name = names.database(names.new_run(), "x")
    admin.execute(f'CREATE DATABASE "{name}"')
    admin.execute(f"ALTER DATABASE \"{name}\" SET strata.environment = 'production'")
    try:
        runs.sweep(admin)
        with pytest.raises(ConfigurationError, match=r"refused to drop .*stamped as production"):
            runs.drop(admin, name)
        assert name in runs.databases(admin)
    finally:
        remove(server, name)


def test_an_error_for_a_role_without_createdb_names_the_statement_that_grants_it(
    limited: Server,
) -> None:
    service = replace(project.services()[0], name=f"x{secrets.token_hex(3)}")
    mine = lifecycle.Database(limited, service)
    role = conninfo_to_dict(limited.url)["user"]
    for action in (mine.create, mine.setup):
        with pytest.raises(InfrastructureError, match="may not create databases") as refusal:
            action()
        assert refusal.value.code is Code.INFRASTRUCTURE
        assert refusal.value.hint == f'as a superuser: ALTER ROLE "{role}" CREATEDB'
    assert not mine.inspect().exists


def test_a_role_with_createdb_can_run_every_action(
    limited: Server, admin: database.Connection, tmp_path: Path
) -> None:
    role = conninfo_to_dict(limited.url)["user"]
    admin.execute(f'ALTER ROLE "{role}" CREATEDB')
    service = replace(project.services()[0], name=f"x{secrets.token_hex(3)}")
    # Use a template of its own: another role's may not be copied, nor commented on.
    shutil.copytree(service.path / "migrations", tmp_path / "migrations")
    shutil.copy(service.path / "pyproject.toml", tmp_path)
    (tmp_path / "migrations" / "different.py").write_text(f'"""{role}"""\n')
    mine = lifecycle.Database(limited, replace(service, path=tmp_path))
    left = []
    try:
        mine.create()
        mine.migrate()
        mine.seed()
        mine.setup()
        mine.clean()
        left.append(mine.snapshot("x"))
        mine.restore("x")
        mine.reset()
        mine.rollback()
        left.append(runs.template(limited.url, mine.service))
        assert mine.drop()
    finally:
        with database.connect(limited.url) as own:
            for name in left:
                runs.drop(own, name)
        remove(limited, mine.name)


def test_a_database_of_another_role_is_named_and_not_dropped(
    limited: Server, service_database: lifecycle.Database, admin: database.Connection
) -> None:
    service_database.create()
    admin.execute(f'REVOKE CONNECT ON DATABASE "{service_database.name}" FROM PUBLIC')
    with pytest.raises(
        InfrastructureError, match=rf"may not change {service_database.name}: must be owner"
    ):
        lifecycle.Database(limited, service_database.service).drop()
    assert service_database.inspect().exists


def test_the_password_is_not_in_the_command_line_of_psql() -> None:
    address = "postgresql://me:open-sesame@localhost/postgres"
    server = Server("postgres", address, "url", "", owned=False)
    service_database = lifecycle.Database(server, project.service("gateway"))
    (_, target), variables = service_database.psql()
    assert "user=me" in target
    assert "open-sesame" not in target
    assert variables == {"PGPASSWORD": "open-sesame"}  # pragma: allowlist secret
