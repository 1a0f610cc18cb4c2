"""Identity of the checked and the destroyed database, wherever a host name or a proxy leads."""

import os
import secrets
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from stratakit import database, names, project
from stratakit.database import guards, lifecycle, runs
from stratakit.errors import AbsentError, ConfigurationError
from stratakit.servers import Server, addresses
from stratakit.testing.databases import IsolatedDatabase

from .clusters import addresses_of, balancer, cluster, free_port, pooler
from .scratch import Scratch

PRECIOUS = "CREATE TABLE precious AS SELECT 1 AS one; CREATE TABLE kind (name text)"
CHANGES: dict[str, Callable[[lifecycle.Database], object]] = {
    "clean": lambda it: it.clean(),
    "reset": lambda it: it.reset(),
    "rollback": lambda it: it.rollback(),
    "migrate": lambda it: it.migrate(),
    "seed": lambda it: it.seed(),
    "setup": lambda it: it.setup(),
}
"""Operations that open a connection of their own to the database."""


@pytest.fixture(scope="module")
def one() -> Iterator[str]:
    with cluster("127.0.0.1", free_port("127.0.0.1")) as address:
        yield address


@pytest.fixture(scope="module")
def other() -> Iterator[str]:
    with cluster("127.0.0.1", free_port("127.0.0.1")) as address:
        yield address


@pytest.fixture
def seeded(tmp_path: Path) -> project.Service:
    """A service with seeds, whose databases no other test has stamped."""
    known = project.services()[0]
    (tmp_path / "seeds").mkdir()
    (tmp_path / "seeds" / "it.sql").write_text("CREATE TABLE IF NOT EXISTS seeded (one int)")
    for part in ("migrations", "pyproject.toml", "src"):
        (tmp_path / part).symlink_to(known.path / part)
    return replace(known, name=f"aimed{secrets.token_hex(3)}", path=tmp_path)


def at(address: str, service: project.Service) -> lifecycle.Database:
    return lifecycle.Database(Server("postgres", address, "url", "", owned=False), service)


def make_precious(address: str, name: str) -> None:
    with database.connect(address) as admin:
        admin.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        admin.execute(f'CREATE DATABASE "{name}"')
        admin.execute(f"ALTER DATABASE \"{name}\" SET strata.environment = 'production'")
    with database.connect(address, name) as own:
        own.execute(PRECIOUS)


def expect_precious(address: str, name: str) -> None:
    with database.connect(address, name) as own:
        assert own.execute("SELECT one FROM precious").fetchone() == (1,)
        tables = own.execute("SELECT count(*) FROM pg_stat_user_tables").fetchone()
        assert tables == (2,)


@pytest.mark.parametrize("action", CHANGES)
def test_a_pooler_that_leads_to_another_database_is_refused(
    action: str, one: str, seeded: project.Service
) -> None:
    at(one, seeded).setup()
    make_precious(one, "production")
    alias = f"{at(one, seeded).name} = {_to(one)} dbname=production"
    with (
        pooler(f"{alias}\n* = {_to(one)}") as address,
        pytest.raises(ConfigurationError, match="the connection leads to production"),
    ):
        CHANGES[action](at(address, seeded))
    expect_precious(one, "production")


@pytest.mark.parametrize("action", CHANGES)
def test_a_pooler_that_leads_to_another_server_is_refused(
    action: str, one: str, other: str, seeded: project.Service
) -> None:
    it = at(one, seeded)
    it.setup()
    make_precious(other, it.name)
    with (
        pooler(f"{it.name} = {_to(other)}\n* = {_to(one)}") as address,
        pytest.raises(ConfigurationError, match="have reached two servers"),
    ):
        CHANGES[action](at(address, seeded))
    expect_precious(other, it.name)


@pytest.mark.parametrize("action", CHANGES)
def test_a_balancer_that_leads_to_another_server_is_refused(
    action: str, one: str, other: str, seeded: project.Service
) -> None:
    it = at(one, seeded)
    it.setup()
    # Make its template now, whichever of these tests runs first.
    it.reset()
    make_precious(other, it.name)
    for first in range(1, 4):
        # The check for a pooler opens its own connections, so switch at several moments.
        with (
            balancer(
                lambda number, first=first: _place(one if number < first else other)
            ) as address,
            pytest.raises(ConfigurationError, match="refused"),
        ):
            CHANGES[action](at(address, seeded))
    expect_precious(other, it.name)


def test_a_test_database_is_not_cleaned_if_its_pooler_leads_to_another_database(one: str) -> None:
    make_precious(one, "production")
    with (
        pooler(f"postgres = {_to(one)}\n* = {_to(one)} dbname=production") as address,
        database.run(address) as run,
    ):
        name = names.database(run, "main")
        database.clone(address, "template0", name)
        with pytest.raises(ConfigurationError, match="leads to production"):
            IsolatedDatabase(address, name)
    expect_precious(one, "production")


def test_a_pooler_that_leads_to_the_named_database_is_accepted(
    one: str, seeded: project.Service
) -> None:
    with pooler(f"* = {_to(one)}") as address:
        it = at(address, seeded)
        it.setup()
        it.migrate()
        with database.connect(one) as admin:
            assert it.name in runs.databases(admin)


def test_a_database_replaced_after_its_check_is_not_dropped(
    one: str, seeded: project.Service
) -> None:
    it = at(one, seeded)
    it.setup()
    with database.connect(one) as admin:
        target = guards.inspect(admin, it.server, it.name)
        admin.execute(f'DROP DATABASE "{it.name}" WITH (FORCE)')
        make_precious(one, it.name)
        with pytest.raises(ConfigurationError, match="not the one that was checked"):
            guards.drop(admin, target)
    expect_precious(one, it.name)


def test_a_stamp_set_after_the_check_still_protects_the_database(
    one: str, seeded: project.Service
) -> None:
    it = at(one, seeded)
    make_precious(one, it.name)
    with database.connect(one) as admin:
        admin.execute(f"ALTER DATABASE \"{it.name}\" SET strata.environment = 'test'")
        target = guards.inspect(admin, it.server, it.name)
        guards.check(target)
        admin.execute(f"ALTER DATABASE \"{it.name}\" SET strata.environment = 'production'")
        with pytest.raises(ConfigurationError, match="stamped as production"):
            guards.drop(admin, target)
        with (
            pytest.raises(ConfigurationError, match="stamped as production"),
            guards.opened(admin, target),
        ):
            pass
    expect_precious(one, it.name)


def _to(address: str) -> str:
    host, port = _place(address)
    return f"host={host} port={port} user=postgres"


def _place(address: str) -> tuple[str, int]:
    parts = urlsplit(address)
    return str(parts.hostname), int(parts.port or 0)


@dataclass(frozen=True)
class Twin:
    """A name with two addresses, and the prefix of commands that see both."""

    name: str
    hosts: tuple[str, str]
    prefix: tuple[str, ...] = ()


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Twin:
    """Find a name with two addresses, or make one."""
    if addresses_of("localhost") >= {"::1", "127.0.0.1"}:
        return Twin("localhost", ("::1", "127.0.0.1"))
    if sys.platform != "linux" or os.geteuid():
        why = "localhost has one address, and only root can make a name that has two"
        raise AbsentError(why, part="root")
    hosts = tmp_path_factory.mktemp("hosts") / "hosts"
    hosts.write_text("127.0.0.1 two.test\n127.0.0.2 two.test\n")
    # The mount is in a namespace of its own, so no other process sees it.
    mount = 'mount --bind "$0" /etc/hosts && exec "$@"'
    return Twin(
        "two.test",
        ("127.0.0.1", "127.0.0.2"),
        ("unshare", "--mount", "sh", "-c", mount, str(hosts)),
    )


@pytest.fixture(scope="module")
def port(twin: Twin) -> int:
    return free_port(*twin.hosts)


@pytest.fixture(scope="module")
def pooled(twin: Twin, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scratch]:
    given = {"STRATA_SERVERS": "url"}
    with Scratch(tmp_path_factory.mktemp("twins"), prefix=twin.prefix, **given) as scratch:
        yield scratch


@contextmanager
def twins(twin: Twin, port: int) -> Iterator[list[str]]:
    with ExitStack() as stack:
        yield [stack.enter_context(cluster(host, port)) for host in twin.hosts]


def test_a_host_name_that_resolves_to_two_servers_is_refused(
    twin: Twin, port: int, pooled: Scratch
) -> None:
    with twins(twin, port) as servers:
        for address in servers:
            make_precious(address, pooled.database)
            with database.connect(address) as admin:
                admin.execute("CREATE ROLE few LOGIN SUPERUSER CONNECTION LIMIT 3")
        with database.connect(servers[0]) as admin:
            admin.execute(f"ALTER DATABASE {pooled.database} SET strata.environment = 'test'")
        base = f"postgresql://{{}}@{twin.name}:{port}/postgres"
        several = ("leads to several servers", *twin.hosts)
        balanced = f"{base.format('postgres')}?load_balance_hosts=random"
        for action, address, says in (
            ("db.clean", base.format("postgres"), several),
            ("db.reset", balanced, ("has the option load_balance_hosts=",)),
            ("db.drop", base.format("few"), several),
        ):
            outcome = pooled.invoke(action, "--yes", "--force", TEST_DATABASE_URL=address)
            assert outcome.code == 3, outcome.said
            assert all(each in outcome.said for each in says), outcome.said
        for address in servers:
            expect_precious(address, pooled.database)


def test_a_host_name_with_one_silent_address_is_accepted(
    twin: Twin, port: int, pooled: Scratch
) -> None:
    with cluster(twin.hosts[1], port):
        address = f"postgresql://postgres@{twin.name}:{port}/postgres"
        for action in ("db.setup", "db.clean --yes", "db.reset --yes", "db.drop --yes"):
            pooled.green(*action.split(), TEST_DATABASE_URL=address)


def test_two_connections_detect_whether_they_reach_the_same_server(one: str, other: str) -> None:
    with (
        database.connect(one) as here,
        database.connect(one) as again,
        database.connect(other) as there,
    ):
        assert addresses.same_server(here, again)
        assert not addresses.same_server(here, there)
        assert here.execute(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
        ).fetchone() == (0,)


def test_a_url_is_pinned_to_the_address_that_its_host_resolves_to(one: str) -> None:
    host, port = _place(one)
    address = f"postgresql://postgres@localhost:{port}/postgres"
    assert addresses.pinned("X", address, 5) == f"{address}?hostaddr={host}"
    assert socket.gethostbyname("localhost") == host
