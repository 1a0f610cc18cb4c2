"""Redis databases of killed runs, of other projects and of older versions; and whole test runs."""

import os
import re
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
import redis

from stratakit import runner, database, redis_databases, servers, settings
from stratakit.database import runs
from stratakit.errors import Code
from stratakit.redis_databases import leftovers
from stratakit.redis_databases.survey import ENTRY, MARKER
from stratakit.liveness import identity
from stratakit.servers.waiting import until

from .redis_servers import (
    application,
    claimed,
    expect_nothing_left,
    keys,
    number_of,
    put,
    theirs,
)
from .scratch import Scratch

LONG = leftovers.moment() + 1000
"""Seconds after which a run without a sign of life counts as dead."""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scratch]:
    """A project with a given PostgreSQL too, which otherwise might be one in Docker."""
    folder = tmp_path_factory.mktemp("keyspaces")
    with servers.lease(settings.load(), ("postgres",)) as up:
        address = up["postgres"].url
        with Scratch(folder, STRATA_SERVERS="url", TEST_DATABASE_URL=address) as scratch:
            yield scratch
        with database.connect(address) as connection:
            for name in runs.databases(connection):
                if name.startswith(f"{scratch.name}_"):
                    connection.execute(f'ALTER DATABASE "{name}" IS_TEMPLATE false')
                    connection.execute(f'DROP DATABASE "{name}"')


# Dead runs, and runs that only seem dead.


def left(server: str, number: int, *, process: str, ago: int = LONG) -> None:
    """Leave the leftovers of a run that was killed some time ago."""
    with application(server, number) as client:
        now, _ = client.time()
        owner = {"token": "dead", "project": "other", "process": process, "seen": now - ago}
        client.hset(MARKER, mapping=owner)
        client.set("test", 1)
    age(server, number, ago)


def age(server: str, number: int, seconds: int) -> None:
    """Make every key of a database look as if it was last used some time ago."""
    with redis.Redis.from_url(redis_databases.url(server, number)) as client:
        for key in client.scan_iter():
            text = client.dump(key)
            client.restore(key, 0, text, replace=True, idletime=seconds)


GONE = f"{socket.gethostname()}/another boot/1/1"
ELSEWHERE = "elsewhere/boot/1/1"


@pytest.mark.parametrize("process", [GONE, ELSEWHERE], ids=["here", "elsewhere"])
def test_the_keys_of_a_killed_run_are_swept(process: str, server: str) -> None:
    left(server, 3, process=process)
    swept, left_alone = redis_databases.sweep(server)
    assert len(swept) == 1
    assert "database 3 of" in swept[0]
    assert left_alone == []
    assert not keys(server, 3)


def test_a_database_used_after_its_run_was_killed_is_not_swept(server: str) -> None:
    left(server, 3, process=GONE)
    put(server, 3)
    swept, [reason] = redis_databases.sweep(server)
    assert swept == []
    assert "left alone: database 3" in reason
    assert "used since, somebody" in reason
    assert "uv run invoke db.gc --redis-database 3" in reason
    with claimed(server) as mine:
        assert number_of(mine) == 2
    assert keys(server, 3) == {MARKER, "test", "somebody"}


def test_the_keys_of_a_killed_run_are_not_swept_while_a_client_is_connected(
    server: str,
) -> None:
    left(server, 3, process=GONE)
    with application(server, 3, client_name="shop"):
        swept, [reason] = redis_databases.sweep(server)
    assert swept == []
    assert "name=shop" in reason
    assert keys(server, 3) == {MARKER, "test"}


ALIVE: dict[str, Callable[[str], Any]] = {
    "seen a moment ago": lambda server: left(server, 3, process=ELSEWHERE, ago=0),
    "connected from elsewhere": lambda server: left(server, 3, process=ELSEWHERE),
    "process still running": lambda server: left(server, 3, process=identity(os.getpid())),
    "marker of an unknown format": lambda server: left(server, 3, process="a text"),
}


@pytest.mark.parametrize("why", ALIVE)
def test_the_database_of_a_run_that_may_be_alive_is_left_alone(why: str, server: str) -> None:
    ALIVE[why](server)
    with ExitStack() as stack:
        if "connected" in why:
            stack.enter_context(application(server, 3, client_name="dead"))
        assert redis_databases.sweep(server) == ([], [])
        assert keys(server, 3) == {MARKER, "test"}
        with claimed(server) as mine:
            assert number_of(mine) == 2


def test_the_keys_of_a_killed_run_are_kept_if_the_server_records_no_idle_time(
    start: Callable[..., str],
) -> None:
    server = start("--databases", "4")
    left(server, 3, process=GONE)
    with application(server, 0) as admin:
        admin.config_set("maxmemory-policy", "allkeys-lfu")
    swept, reasons = redis_databases.sweep(server)
    assert (swept, len(reasons)) == ([], 1)
    assert keys(server, 3) == {MARKER, "test"}


# Runs of other projects and of older versions.


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("entry", [ENTRY.format(project="shop", number=3), "ops:shop:database:3"])
def test_a_database_claimed_by_an_older_version_is_not_taken(
    entry: str, place: int, server: str
) -> None:
    put(server, place, entry)
    with application(server, place) as client:
        client.set(b"\xff", "no text")
    with claimed(server) as mine:
        assert number_of(mine) == 2
    assert theirs(server, place, entry)
    assert keys(server, 3) == keys(server, 2) == set()


HOLD_DATABASE = """
import signal, sys
import redis
from stratakit import redis_databases, settings
with redis_databases.claim(settings.load().redis_url) as mine:
    with redis.Redis.from_url(mine.url) as tests, redis.Redis.from_url(sys.argv[1]) as common:
        assert tests.dbsize() == 1
        tests.set("test", mine.url)
        common.rpush("taken", mine.url)
        common.blpop("go", 60)
        assert tests.get("test").decode() == mine.url
        assert tests.dbsize() == 2
        mine.flush()
        assert tests.dbsize() == 1
"""


def test_concurrent_runs_of_two_projects_get_different_databases(
    start: Callable[..., str], project: Scratch, tmp_path: Path
) -> None:
    server = start("--databases", "10")
    with closing(Scratch(tmp_path / "other")) as other, application(server, 0) as common:
        runs = [
            each.start(HOLD_DATABASE, server, TEST_REDIS_URL=server)
            for each in (project, other) * 4
        ]

        def all_have_one() -> None:
            assert common.llen("taken") == 8

        try:
            until(all_have_one, 30)
            assert len(set(common.lrange("taken", 0, -1))) == 8
            os.kill(runs[0].pid, signal.SIGKILL)
        finally:
            common.rpush("go", *range(8))
        outcomes = [run.wait() for run in runs]
        assert [each.code for each in outcomes] == [-signal.SIGKILL] + [0] * 7, outcomes
        (number,) = [number for number in range(1, 10) if keys(server, number)]
        assert keys(server, number) == {MARKER, "test"}
        with application(server, number) as client:
            client.hincrby(MARKER, "seen", -LONG)
        age(server, number, LONG)
        collected = project.green("db.gc", "--json", TEST_REDIS_URL=server).json
        assert collected["dropped"] == [f"database {number} of {server}"]
        assert not keys(server, number)


# A whole run.

SHOP = """
import redis

def test_one(redis_url):
    tests = redis.Redis.from_url(redis_url)
    tests.set("test", 1)

def test_another(redis_url):
    tests = redis.Redis.from_url(redis_url)
    assert tests.dbsize() == 1
    tests.set("test", 2)
    global shop
    shop = redis.Redis.from_url(redis_url.partition("&client_name=")[0], client_name="shop")
    shop.set("somebody", "else's")

def test_last():
    pass
"""


def test_a_run_that_meets_another_client_names_it_in_a_configuration_error(
    server: str, project: Scratch
) -> None:
    left(server, 3, process=GONE)
    put(server, 3)
    (project.tests / "test_shop.py").write_text(SHOP)
    outcome = project.pytest(str(project.tests), TEST_REDIS_URL=server)
    assert outcome.code == runner.CONFIGURATION_EXIT, outcome.said
    assert "left alone: database 3 of" in outcome.out
    assert re.search(r"somebody else uses database 2 of .*: .*name=shop", outcome.out)
    assert "3 passed" in outcome.out
    assert keys(server, 3) == {MARKER, "test", "somebody"}
    assert keys(server, 2) == {"test", "somebody"}
    assert not keys(server, 0) | keys(server, 1)
    assert_comes_back(project, server, 2, 3, TEST_REDIS_URL=server)


def assert_comes_back(
    project: Scratch, server: str, number: int, other: int, **environment: str
) -> None:
    """Get a database back as the messages say, and leave the other alone."""
    command = ("db.gc", "--redis-database", str(number))
    found = project.green("db.gc", "--json", **environment).json
    assert found["dropped"] == []
    told = "\n".join(found["left"])
    assert f"not taken for tests: database {number} of {server}, which holds 2 keys" in told
    assert f"uv run invoke {' '.join(command)}" in told
    refused = project.invoke(*command, **environment)
    assert refused.code == Code.CONFIGURATION, refused.said
    assert f"delete the 2 keys in database {number} of {server}" in refused.said
    assert "--yes" in refused.said
    assert keys(server, number) == {"test", "somebody"}
    done = project.green(*command, "--yes", "--json", **environment).json
    assert done["dropped"] == [f"2 keys in database {number} of {server}"]
    assert not keys(server, number)
    assert theirs(server, other)


START_PERSISTENT_REDIS = """
from stratakit import servers, settings
with servers.lease(settings.load(), ("redis",), persistent=True) as up:
    print(up["redis"].url)
"""
KILLED_TEST = """
import os, signal
import redis

def test_killed(redis_url):
    redis.Redis.from_url(redis_url).set("test", 1)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_keys_of_others_are_kept_on_an_embedded_server_too(project: Scratch) -> None:
    ours = {"STRATA_SERVERS": "embedded"}
    server = project.python(START_PERSISTENT_REDIS, **ours).out.strip()
    shop = project.tests / "test_shop.py"
    shop.write_text(KILLED_TEST)
    assert project.pytest(str(project.tests), **ours).code == -signal.SIGKILL
    (dead,) = [number for number in range(1, 64) if keys(server, number)]
    put(server, dead)
    shop.write_text(SHOP)
    outcome = project.pytest(str(project.tests), **ours)
    assert outcome.code == runner.CONFIGURATION_EXIT, outcome.said
    (met,) = [number for number in range(1, 64) if keys(server, number) and number != dead]
    assert f"somebody else uses database {met} of {server}" in outcome.out
    with application(server, dead) as client:
        client.hincrby(MARKER, "seen", -LONG)
    assert_comes_back(project, server, met, dead, **ours)
    shop.write_text("def test_uses_it(redis_url): pass")
    outcome = project.pytest(str(project.tests), **ours)
    assert outcome.code == 0, outcome.said
    assert f"left alone: database {dead} of {server}" in outcome.out
    assert keys(server, dead) == {MARKER, "test", "somebody"}


def test_a_run_by_a_role_without_rights_is_an_infrastructure_error(
    server: str, project: Scratch
) -> None:
    with application(server, 0) as admin:
        admin.execute_command("ACL", "SETUSER", "default", "-client|list")
    (project.tests / "test_shop.py").write_text(SHOP)
    outcome = project.pytest(str(project.tests), TEST_REDIS_URL=server)
    assert outcome.code == runner.INFRASTRUCTURE_EXIT, outcome.said
    assert "ACL SETUSER default ~* +ping" in outcome.out
    expect_nothing_left(server)
