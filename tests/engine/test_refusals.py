"""Refusals of servers: reported with a hint, and never with exit code 1, a fault of the code."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from stratakit import database, project, redis_databases
from stratakit.database import runs
from stratakit.database.lifecycle import Database
from stratakit.errors import Code, InfrastructureError, StrataError
from stratakit.servers import Server

from .clusters import cluster, free_port

ACTIONS: dict[str, Callable[[Database], object]] = {
    "create": lambda it: it.create(),
    "setup": lambda it: it.setup(),
    "rollback": lambda it: it.rollback(force=True),
    "migrate": lambda it: it.migrate(),
    "seed": lambda it: it.seed(),
    "clean": lambda it: it.clean(force=True),
    "snapshot": lambda it: it.snapshot("first"),
    "restore": lambda it: it.restore("first", force=True),
    "reset": lambda it: it.reset(force=True),
    "drop": lambda it: it.drop(force=True),
    "tests": lambda it: runs.template(it.server.url, it.service),
}
"""Actions in this order, since each prepares the next one."""
CASES = {
    "a template": ('ALTER DATABASE "{name}" IS_TEMPLATE true', "", "drop", "is a template"),
    "closed": ('ALTER DATABASE "{name}" ALLOW_CONNECTIONS false', "", "migrate", "not currently"),
    "full": ('ALTER DATABASE "{name}" CONNECTION LIMIT 0', "", "migrate", "too many connections"),
    "one session": ("ALTER ROLE plain CONNECTION LIMIT 1", "", "migrate", "too many connections"),
    "read-only": (
        'ALTER DATABASE "{name}" SET default_transaction_read_only = on',
        "",
        "rollback",
        "takes no changes",
    ),
    "a read-only role": (
        "ALTER ROLE plain SET default_transaction_read_only = on",
        "",
        "reset",
        "takes no changes",
    ),
    "another role's": ('ALTER DATABASE "{name}" OWNER TO postgres', "", "drop", "must be owner"),
    "another role's tables": (
        'ALTER DATABASE "{name}" OWNER TO postgres',
        "DELETE FROM alembic_version",
        "migrate",
        "the role may not do what the migrations of",
    ),
    "no right to connect": (
        'ALTER DATABASE "{name}" OWNER TO postgres; REVOKE CONNECT ON DATABASE "{name}" FROM PUBLIC',
        "",
        "migrate",
        "permission denied for database",
    ),
    "no right to create": (
        "ALTER ROLE plain NOCREATEDB",
        "",
        "snapshot",
        "may not create databases",
    ),
}
"""Changes to the server and the database; an action, and its message."""


@pytest.fixture(scope="module")
def primary() -> Iterator[str]:
    """A server that has a role that may create databases."""
    host = "127.0.0.1"
    with cluster(host, free_port(host)) as address, database.connect(address) as admin:
        admin.execute("CREATE ROLE plain LOGIN CREATEDB")
        yield address


@pytest.fixture
def it(primary: str) -> Iterator[Database]:
    """A migrated database of that role, and a snapshot of it."""
    url = primary.replace("postgres@", "plain@")
    found = Database(Server("postgres", url, "url", "", owned=True), project.services()[0])
    found.setup()
    found.snapshot("first")
    yield found
    with database.connect(primary) as admin:
        admin.execute("ALTER ROLE plain RESET ALL; ALTER ROLE plain CONNECTION LIMIT -1 CREATEDB")
        if admin.execute("SELECT FROM pg_database WHERE datname = %s", (found.name,)).rowcount:
            admin.execute(f'ALTER DATABASE "{found.name}" IS_TEMPLATE false')
            admin.execute(f'DROP DATABASE "{found.name}" WITH (FORCE)')


def refusals(it: Database) -> dict[str, StrataError]:
    """Return the error of each action that fails; errors of the driver are raised."""
    found = {}
    for name, act in ACTIONS.items():
        try:
            act(it)
        except StrataError as error:
            found[name] = error
    return found


@pytest.mark.parametrize("case", CASES)
def test_a_refusal_by_postgresql_is_never_exit_code_1_and_has_a_hint(
    case: str, it: Database, primary: str
) -> None:
    change, inside, action, said = CASES[case]
    if inside:
        with database.connect(primary, it.name) as own:
            own.execute(inside)
    with database.connect(primary) as admin:
        admin.execute(change.format(name=it.name))
    found = refusals(it)
    assert not [each for each in found.items() if each[1].code is Code.FAILED]
    assert said in found[action].message
    assert all(each.hint for each in found.values())


def test_an_existing_template_on_a_read_only_server_is_an_infrastructure_error(
    it: Database, primary: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A standby has its primary's template, whose recorded day of use is not today."""
    runs.template(it.server.url, it.service)
    monkeypatch.setattr(runs, "_today", lambda: "2001-01-01")
    with database.connect(primary) as admin:
        admin.execute("ALTER ROLE plain SET default_transaction_read_only = on")
    with pytest.raises(InfrastructureError, match="takes no changes") as raised:
        runs.template(it.server.url, it.service)
    assert "use the primary" in raised.value.hint


def test_actions_on_a_standby_report_a_replica_and_hint_at_the_primary() -> None:
    host = "127.0.0.1"
    with cluster(host, free_port(host), standby=True) as address:
        server = Server("postgres", address, "url", "", owned=True)
        found = refusals(Database(server, project.services()[0]))
    assert found.keys() == ACTIONS.keys()
    assert not [each for each in found.items() if each[1].code is Code.FAILED]
    told = {name: each for name, each in found.items() if "is not there" not in each.message}
    assert {"create", "setup", "reset", "drop", "tests"} <= told.keys()
    assert not [each for each in told.items() if "replica" not in each[1].message]
    assert not [each for each in told.items() if "use the primary" not in each[1].hint]


def test_claiming_a_database_of_a_redis_replica_reports_the_replica(
    start: Callable[..., str],
) -> None:
    address = start("--replicaof", "127.0.0.1 1")
    with (
        pytest.raises(InfrastructureError, match=r"refuses: .*replica"),
        redis_databases.claim(address),
    ):
        pass


@pytest.mark.parametrize("right", ["select", "client", "eval", "dbsize", "unlink"])
def test_a_missing_redis_right_is_named_in_an_acl_setuser_hint(
    right: str, start: Callable[..., str]
) -> None:
    address = start()
    with redis.Redis.from_url(address) as client:
        client.execute_command(
            "ACL", "SETUSER", "limited", "on", ">word", "~*", "+@all", f"-{right}"
        )
    limited = address.replace("unix://", "unix://limited:word@")
    with (
        pytest.raises(InfrastructureError, match="lacks rights") as raised,
        redis_databases.claim(limited),
    ):
        pass
    rule = raised.value.hint.partition("ACL SETUSER limited ")[2].partition(";")[0]
    assert f"+{right}" in [each.partition("|")[0] for each in rule.split()]


def test_flushing_a_redis_database_needs_no_flushdb_right(
    start: Callable[..., str], tmp_path: Path
) -> None:
    address = start()
    with redis.Redis.from_url(address) as client:
        client.execute_command(
            "ACL", "SETUSER", "limited", "on", ">word", "~*", "+@all", "-flushdb"
        )
    with redis_databases.claim(address.replace("unix://", "unix://limited:word@")) as own:
        own.flush()
