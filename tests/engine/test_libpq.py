"""Variables and options that steer PostgreSQL's clients: obeyed, ignored or named, never waited on."""

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from stratakit import database, servers, settings
from stratakit.errors import ConfigurationError
from stratakit.servers import libpq

HOSTILE = {
    "PGHOST": "10.1.2.3",
    "PGHOSTADDR": "10.1.2.3",
    "PGPORT": "1",
    "PGUSER": "somebody",
    "PGPASSWORD": "wrong",  # pragma: allowlist secret
    "PGSERVICE": "elsewhere",
    "PGSSLMODE": "require",
    "PGREQUIRESSL": "1",
    "PGGSSENCMODE": "require",
    "PGSSLNEGOTIATION": "direct",
    "PGCHANNELBINDING": "require",
    "PGREQUIREAUTH": "scram-sha-256",
    "PGREQUIREPEER": "somebody",
    "PGSSLCERTMODE": "require",
    "PGSSLMINPROTOCOLVERSION": "TLSv9",
    "PGSSLMAXPROTOCOLVERSION": "TLSv9",
    "PGMINPROTOCOLVERSION": "9.9",
    "PGMAXPROTOCOLVERSION": "1.0",
    "PGTARGETSESSIONATTRS": "standby",
    "PGLOADBALANCEHOSTS": "always",
    "PGOPTIONS": "-c default_transaction_read_only=on",
    "PGCONNECT_TIMEOUT": "soon",
    "PGCLIENTENCODING": "SQL_ASCII",
    "PGTZ": "Mars/Olympus",
    "PGDATESTYLE": "German",
}
"""Most harmful value of each variable; the others name a missing file."""
VARIABLES = (*libpq.COMPLETING, *libpq.LEADING, *libpq.IGNORED)
CHILD = """
import asyncio, sys
import asyncpg, psycopg
psycopg.connect(sys.argv[1]).close()
async def main():
    await (await asyncpg.connect(sys.argv[2])).close()
asyncio.run(main())
"""
FORWARD = """
import asyncio, sys

async def pump(reader, writer):
    try:
        while data := await reader.read(4096):
            writer.write(data)
    except ConnectionError:
        pass
    writer.close()

async def serve(reader, writer):
    to, back = await asyncio.open_unix_connection(sys.argv[1])
    await asyncio.gather(pump(reader, back), pump(to, writer))

async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()

asyncio.run(main())
"""
"""Program that forwards TCP connections to a Unix socket."""


@pytest.fixture
def hostile(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A single variable, set to its worst value."""
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    name: str = request.param
    monkeypatch.setenv(name, HOSTILE.get(name, "/nonexistent"))
    return name


@pytest.fixture(scope="module")
def ours() -> Iterator[str]:
    """URL of one of our servers."""
    with servers.lease(settings.load(), ("postgres",)) as up:
        yield up["postgres"].url


@pytest.fixture(scope="module")
def address(ours: str) -> Iterator[str]:
    """URL of the same server over TCP, as if it were somebody else's."""
    parts = conninfo_to_dict(ours)
    if not str(parts["host"]).startswith("/"):
        yield ours
        return
    target = f"{parts['host']}/.s.PGSQL.{parts['port']}"
    command = [sys.executable, "-c", FORWARD, target]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as forwarding:
        assert forwarding.stdout
        yield f"postgresql://postgres@127.0.0.1:{forwarding.stdout.readline().strip()}/postgres"
        forwarding.terminate()


def works(address: str) -> None:
    """Connect as the engine does, as a service does, and as a child of either would."""
    driver = database.url(address, "postgres").set(drivername="postgresql")
    with closing(database.connect(address)) as connection:
        row = connection.execute("SHOW transaction_read_only").fetchone()
        assert row == ("off",)
        assert connection.info.encoding == "utf-8"

    async def ask() -> None:
        own = await asyncpg.connect(driver.render_as_string(hide_password=False))
        await own.close()

    asyncio.run(ask())
    words = (address, driver.render_as_string(hide_password=False))
    subprocess.run([sys.executable, "-c", CHILD, *words], check=True)


def test_every_environment_variable_that_a_driver_reads_is_classified() -> None:
    known = {each.envvar.decode() for each in psycopg.pq.Conninfo.get_defaults() if each.envvar}
    source = Path(asyncpg.__file__).with_name("connect_utils.py").read_text(encoding="utf-8")
    known |= set(re.findall(r"'(PG[A-Z]+)'", source))
    assert known <= set(VARIABLES)
    assert len(set(VARIABLES)) == len(VARIABLES)


@pytest.mark.parametrize("hostile", VARIABLES, indirect=True)
def test_environment_variables_do_not_affect_connections_to_leased_servers(hostile: str) -> None:
    with servers.lease(settings.load(), ("postgres",)) as up:
        assert hostile not in os.environ
        if hostile in libpq.COMPLETING:
            return
        works(up["postgres"].url)


@pytest.mark.parametrize("hostile", VARIABLES, indirect=True)
def test_an_environment_variable_completes_the_url_is_ignored_or_is_refused_by_name(
    hostile: str, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # PGUSER completes only a URL without a user.
    named = urlsplit(address).username
    given = address.replace(f"{named}@", "") if hostile == "PGUSER" else address
    monkeypatch.setenv("STRATA_SERVERS", "url")
    monkeypatch.setenv("TEST_DATABASE_URL", given)
    refusal = used(given)
    if refusal:
        assert hostile in refusal.message
        assert hostile in refusal.hint
        assert hostile not in libpq.IGNORED


def used(address: str) -> ConfigurationError | None:
    """Use the given URL; return the error if it is refused."""
    try:
        with servers.lease(settings.load(), ("postgres",)) as up:
            works(up["postgres"].url)
            assert up["postgres"].url.startswith(address)
    except ConfigurationError as error:
        return error
    return None


def test_a_url_without_a_port_is_refused_while_pgport_is_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PGPORT", "1")
    monkeypatch.setenv("STRATA_SERVERS", "url")
    monkeypatch.setenv("TEST_DATABASE_URL", "postgresql://me@127.0.0.1/postgres")
    with (
        pytest.raises(
            ConfigurationError, match=r"PGPORT=1 could lead TEST_DATABASE_URL"
        ) as refusal,
        servers.lease(settings.load(), ("postgres",)),
    ):
        pass
    assert refusal.value.hint == "unset PGPORT, or name the port in the URL"


def test_an_unreachable_server_is_reported_as_such_despite_a_wrong_pgsslmode(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PGSSLMODE", "require")
    monkeypatch.setenv("STRATA_SERVERS", "url")
    monkeypatch.setenv("TEST_DATABASE_URL", "postgresql://me@127.0.0.1:1/postgres")
    with (
        pytest.raises(Exception, match="does not answer") as refusal,
        servers.lease(settings.load(), ("postgres",)),
    ):
        pass
    assert getattr(refusal.value, "code", None) == 2


def test_creating_a_database_in_a_read_only_session_says_the_server_takes_no_changes(
    address: str,
) -> None:
    read_only = f"{address}?options=-c%20default_transaction_read_only%3Don"
    with (
        closing(database.connect(read_only)) as connection,
        pytest.raises(Exception, match="the server takes no changes"),
    ):
        database.runs.create(connection, "never_made")
