"""Two projects, or two services, with colliding names: neither touches the other's data."""

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from stratakit import database, names, pyproject, servers, settings
from stratakit.database import dev, guards, lifecycle, runs, stamps, status
from stratakit.errors import Code, ConfigurationError
from stratakit.project import services
from stratakit.servers import Server, home
from stratakit.stack import containers, record

ALIKE = ("a-kept", "a-tpl", "a-snap", "a-0a1b2c3d", "a_b", "A")


@contextmanager
def project(name: str) -> Iterator[None]:
    """Give the project this name within the block."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(pyproject.table(), "project", name)
        yield


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with servers.lease(settings.load(), ("postgres",)) as up:
        yield up["postgres"]


def made_by(name: str) -> list[str]:
    """Return a name of each kind that a project makes up for databases."""
    with project(name):
        run = names.new_run()
        return [
            names.database(run, "main_0"),
            names.template("0123456789abcdef", "me"),
            names.snapshot("api", "before"),
            names.kept(names.database(run, "main_0")),
        ]


@pytest.mark.parametrize("other", ALIKE)
@pytest.mark.parametrize("mine", ["a", "a-b"])
def test_database_names_of_another_project_are_not_recognised_as_ours(
    mine: str, other: str
) -> None:
    theirs = made_by(other)
    with project(mine):
        for name in theirs:
            assert not names.is_ours(name)
            assert names.run_of(name) is None
            assert not names.is_kept(name)
            assert not names.is_template(name)
    with project(other):
        assert all(names.is_ours(name) for name in theirs)


def test_prune_drops_only_databases_of_its_own_project(server: Server) -> None:
    short = f"a{secrets.token_hex(3)}"
    with project(f"{short}-kept"), database.run(server.url) as run:
        theirs = names.database(run, "main_0")
        with database.connect(server.url) as admin:
            admin.execute(f'CREATE DATABASE "{theirs}"')
            with project(short):
                kept = names.kept("some database")
                admin.execute(f'CREATE DATABASE "{kept}"')
                assert runs.prune(server.url) == [kept]
            assert theirs in runs.databases(admin)


def test_prune_drops_a_database_whose_drop_was_interrupted(server: Server) -> None:
    with project(f"a{secrets.token_hex(3)}"), database.connect(server.url) as admin:
        half = names.kept("some database")
        admin.execute(f'CREATE DATABASE "{half}"')
        # DROP DATABASE writes this first, so that nobody uses a half-dropped database.
        admin.execute("UPDATE pg_database SET datconnlimit = -2 WHERE datname = %s", (half,))
        assert runs.prune(server.url) == [half]


@pytest.fixture
def short(server: Server) -> Iterator[str]:
    """Name of a project; the database of its service `web-api` is dropped afterwards."""
    name = f"a{secrets.token_hex(3)}"
    yield name
    with database.connect(server.url) as admin:
        admin.execute(f'DROP DATABASE IF EXISTS "{name}_web_api_test" WITH (FORCE)')


def of(server: Server, service: str) -> lifecycle.Database:
    return lifecycle.Database(server, replace(services()[0], name=service))


ACTIONS: dict[str, Callable[[lifecycle.Database], object]] = {
    "create": lambda it: it.create(),
    "setup": lambda it: it.setup(),
    "migrate": lambda it: it.migrate(),
    "seed": lambda it: it.seed(),
    "drop": lambda it: it.drop(force=True),
    "reset": lambda it: it.reset(force=True),
    "clean": lambda it: it.clean(force=True),
    "rollback": lambda it: it.rollback(force=True),
    "snapshot": lambda it: it.snapshot("x"),
    "restore": lambda it: it.restore("x", force=True),
    "verify, shell": lambda it: it.refuse_foreign(),
    "check": lambda it: guards.check(it.inspect(), force=True),
}


@pytest.mark.parametrize("action", ACTIONS)
def test_every_action_refuses_the_database_of_another_project(
    action: str, server: Server, short: str
) -> None:
    with project(short):
        it = of(server, "web-api")
        it.create()
        name = it.name
        with database.connect(server.url, name) as own:
            own.execute("CREATE TABLE precious AS SELECT 1 AS one")
    with project(f"{short}-web"):
        same = of(server, "api")
        assert same.name == name
        with pytest.raises(ConfigurationError) as refusal:
            ACTIONS[action](same)
        assert refusal.value.code is Code.CONFIGURATION
        assert f"belongs to the service {short}/web-api" in refusal.value.message
        assert f"this is {short}-web/api" in refusal.value.message
        assert f"SET strata.owner = '{short}-web/api'" in refusal.value.hint
        assert status.status(same).belongs_to == f"{short}/web-api"
    with database.connect(server.url, name) as own:
        assert own.execute("SELECT one FROM precious").fetchone() == (1,)


def test_services_with_the_same_database_name_cannot_drop_each_others_database(
    server: Server, short: str
) -> None:
    with project(short):
        of(server, "web-api").create()
        same = of(server, "web_api")
        with pytest.raises(ConfigurationError, match=f"belongs to the service {short}/web-api"):
            same.drop()


def test_the_hinted_statement_transfers_a_database_to_another_project(
    server: Server, short: str
) -> None:
    with project(short):
        of(server, "web-api").create()
    with project(f"{short}-web"):
        same = of(server, "api")
        with pytest.raises(ConfigurationError) as refusal:
            same.drop()
        said = refusal.value.hint.partition("its owner can say so: ")[2]
        with database.connect(server.url) as admin:
            admin.execute(said)
        assert same.drop()


@pytest.mark.parametrize("action", ["setup", "migrate", "reset", "clean"])
def test_a_database_without_an_owner_stamp_is_taken_over(
    action: str, server: Server, short: str
) -> None:
    with project(short):
        it = of(server, "web-api")
        it.setup()
        with database.connect(server.url) as admin:
            admin.execute(f'ALTER DATABASE "{it.name}" RESET strata.owner')
            assert it.inspect().facts.owner is None
            ACTIONS[action](it)
            assert it.inspect().facts.owner == f"{short}/web-api"
            for name in runs.databases(admin):
                if names.is_ours(name):
                    runs.drop(admin, name)


def test_a_database_stamped_as_staging_is_refused_and_gets_no_owner(
    server: Server, short: str
) -> None:
    with project(short):
        it = of(server, "web-api")
        with database.connect(server.url) as admin:
            admin.execute(f'CREATE DATABASE "{it.name}"')
            admin.execute(f"ALTER DATABASE \"{it.name}\" SET strata.environment = 'staging'")
        it.refuse_foreign()
        with pytest.raises(ConfigurationError, match="stamped as staging"):
            it.migrate()
        assert it.inspect().facts.owner is None


def said(it: lifecycle.Database) -> tuple[str | None, str | None]:
    """Return the purpose and the owner that a database is stamped with."""
    found = it.inspect().facts
    return found.stamp, found.owner


def test_a_plain_role_stores_stamp_and_owner_in_the_database_comment(
    server: Server, short: str
) -> None:
    role = f"{short}_plain"
    with database.connect(server.url) as admin:
        admin.execute(f"CREATE ROLE {role} LOGIN CREATEDB PASSWORD '{role}'")
        address = psycopg.conninfo.make_conninfo(server.url, user=role, password=role)
        try:
            with project(short):
                it = of(replace(server, url=address), "web-api")
                it.create()
                assert said(it) == ("test", f"{short}/web-api")
                # The format of the comment before there were owners.
                admin.execute(f"COMMENT ON DATABASE \"{it.name}\" IS 'strata.environment=test'")
                it.migrate()
                assert said(it) == ("test", f"{short}/web-api")
                # The comment also holds the label of a snapshot.
                it.snapshot("one")
                before = it.snapshots()
                other = replace(it, service=replace(it.service, name="shop"))
                dev.rename(it, other)
                assert [each.made for each in other.snapshots()] == [before[0].made]
                dev.rename(other, it)
                assert it.snapshots() == before
                it.discard("one")
            with project(f"{short}-web"), pytest.raises(ConfigurationError, match="belongs to"):
                of(replace(server, url=address), "api").drop()
            with project(short):
                it.drop()
        finally:
            admin.execute(f"DROP ROLE {role}")


def test_a_stack_deletes_only_its_own_databases(server: Server) -> None:
    short = f"a{secrets.token_hex(3)}"
    made = []
    for name in (short, f"{short}-web"):
        with project(name):
            it = lifecycle.Database(server, services()[0], stamps.DEV)
            it.create()
            made.append(it.name)
    with project(short):
        assert dev.drop_all(server) == made[:1]
    with project(f"{short}-web"):
        assert it.exists()
        assert dev.drop_all(server) == made[1:]


@pytest.mark.parametrize("stamp", stamps.STAMPS)
def test_a_database_of_an_older_stack_is_renamed_and_stamped_as_dev(
    stamp: str, server: Server, short: str
) -> None:
    with project(short):
        it = lifecycle.Database(server, services()[0], stamps.DEV)
        name = names.named(it.service.name, dev.STAMP, "")
        with database.connect(server.url) as admin:
            admin.execute(f'CREATE DATABASE "{name}"')
            assert not dev.adopt(it, server)
            admin.execute(f"ALTER DATABASE \"{name}\" SET {stamp} = '{dev.STAMP}'")
            try:
                assert dev.adopt(it, server)
                assert name not in runs.databases(admin)
                assert said(it) == (stamps.DEV, it.owner)
                assert not dev.wanted(it)
                it.setup()
                assert it.drop()
            finally:
                for each in runs.databases(admin):
                    if each in (name, it.name) or names.is_ours(each):
                        admin.execute(f'ALTER DATABASE "{each}" IS_TEMPLATE false')
                        admin.execute(f'DROP DATABASE "{each}"')


def test_servers_of_two_projects_have_different_socket_folders() -> None:
    long = "x" * home.SOCKET_LIMIT
    one, other = (
        home.socket_folder(Path("/home") / name / long / "pg-01234567" / "store", ".s.PGSQL.5432")
        for name in ("a", "b")
    )
    assert one != other


def test_records_of_the_stack_have_names_that_no_service_can_have() -> None:
    before = {*record.folder().iterdir()}
    record.use("embedded")
    made = {*record.folder().iterdir()} - before
    # Names of services contain no dot, so they cannot collide with these.
    assert all("." in each.name for each in made)
    for each in made:
        each.unlink()


def test_containers_and_images_of_two_projects_cannot_have_the_same_name() -> None:
    for name, described in containers.model({})["services"].items():
        # Names of projects and services contain neither a dot nor a slash.
        assert described["container_name"] == f"${{COMPOSE_PROJECT_NAME}}.{name}"
        assert described["image"] == f"${{COMPOSE_PROJECT_NAME}}/{name}"


@pytest.mark.parametrize(("given", "seconds"), [({}, "10s"), ({"A_SHUTDOWN_GRACE": "60"}, "70s")])
def test_a_container_is_killed_only_after_the_shutdown_grace_of_its_service(
    given: dict[str, str], seconds: str
) -> None:
    name = services()[0].name
    described = containers.model({name: given})["services"][name]
    assert described["stop_grace_period"] == seconds
