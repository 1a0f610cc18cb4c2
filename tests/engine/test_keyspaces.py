"""Redis databases for tests, and the data of others, which stays untouched."""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from threading import Event

import pytest
import redis

from stratakit import redis_databases
from stratakit.errors import Code, ConfigurationError, InfrastructureError
from stratakit.programs import free_port
from stratakit.redis_databases import shared
from stratakit.redis_databases.survey import LOOKING, MARKER
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


def test_two_claims_get_different_redis_databases(server: str) -> None:
    with claimed(server) as one, claimed(server) as other:
        assert number_of(one) != number_of(other)
    expect_nothing_left(server)


# Databases that somebody else uses already.


def test_a_redis_database_that_holds_keys_is_left_alone(server: str) -> None:
    put(server, 0)
    put(server, 3)
    with claimed(server) as mine:
        assert number_of(mine) == 2
        put(server, 2)
    assert theirs(server, 0)
    assert theirs(server, 3)
    assert theirs(server, 2) is None
    expect_nothing_left(server)


def test_a_redis_database_with_a_connected_client_is_left_alone(server: str) -> None:
    with application(server, 3) as client:
        with claimed(server) as mine:
            assert number_of(mine) == 2
            client.set("somebody", "else's")
            mine.flush()
        assert client.get("somebody")
    expect_nothing_left(server)


def test_neither_database_0_nor_the_one_in_the_url_is_claimed_or_written_to(
    server: str,
) -> None:
    with ExitStack() as stack:
        taken = [stack.enter_context(claimed(f"{server}?db=2")) for _ in range(2)]
        assert {number_of(each) for each in taken} == {1, 3}
        assert not keys(server, 0)
        assert not keys(server, 2)


def test_an_error_for_no_free_database_names_the_keys_and_clients_in_the_way(server: str) -> None:
    for number in range(3):
        put(server, number)
    with (
        application(server, 3, client_name="shop"),
        pytest.raises(ConfigurationError, match=r"no database of .* is free for tests") as refusal,
        claimed(server),
    ):
        pass
    assert refusal.value.code is Code.CONFIGURATION
    assert "1: holds 1 keys" in refusal.value.message
    assert "name=shop" in refusal.value.message
    assert "uv run invoke db.gc --redis-database NUMBER" in refusal.value.hint
    assert all(theirs(server, number) for number in range(3))
    expect_nothing_left(server)


def test_no_free_database_because_of_other_runs_is_an_infrastructure_error(server: str) -> None:
    with ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(claimed(server))
        with pytest.raises(InfrastructureError, match="taken by a run of"), claimed(server):
            pass
    expect_nothing_left(server)


# Clients that connect after the database was taken.


def test_keys_of_an_application_that_connects_later_are_not_deleted(server: str) -> None:
    with claimed(server) as mine:
        number = number_of(mine)
        with redis.Redis.from_url(mine.url) as tests:
            tests.set("test", 1)
            mine.flush()
            assert not tests.exists("test")
            tests.set("test", 2)
        with application(server, number, client_name="shop") as client:
            client.set("somebody", "else's")
            for _ in range(2):
                with pytest.raises(
                    ConfigurationError, match=r"somebody else uses.*name=shop"
                ) as it:
                    mine.flush()
            assert it.value.code is Code.CONFIGURATION
            assert "no run takes it while it holds keys" in it.value.message
            assert f"uv run invoke db.gc --redis-database {number}" in it.value.hint
            assert keys(server, number) == {MARKER, "somebody", "test"}
    # The tests' keys stay, but the marker that says that the database is ours is gone.
    assert keys(server, number) == {"somebody", "test"}


def test_keys_are_kept_at_the_end_of_a_run_while_another_client_is_connected(
    server: str,
) -> None:
    with ExitStack() as stack:
        with claimed(server) as mine:
            client = stack.enter_context(application(server, number_of(mine)))
            client.set("somebody", "else's")
        assert set(client.keys()) == {"somebody"}


def test_a_client_that_flushed_a_claimed_database_keeps_its_new_keys(server: str) -> None:
    with claimed(server) as mine:
        number = number_of(mine)
        with application(server, number) as client:
            client.flushdb()
            client.set("somebody", "else's")
        with pytest.raises(
            ConfigurationError, match=f"lost our marker {MARKER}, and the 1 keys"
        ) as refusal:
            mine.flush()
        assert f"uv run invoke db.gc --redis-database {number}" in refusal.value.hint
    assert keys(server, number) == {"somebody"}


def test_a_claimed_database_that_a_client_flushed_stays_claimed(server: str) -> None:
    with claimed(server) as mine:
        with application(server, number_of(mine)) as client:
            client.flushdb()
        mine.flush()
        assert keys(server, number_of(mine)) == {MARKER}
    expect_nothing_left(server)


@pytest.mark.parametrize("kind", ["a text", "another run's"])
def test_a_foreign_marker_in_place_of_ours_is_left_alone(kind: str, server: str) -> None:
    with claimed(server) as mine:
        number = number_of(mine)
        with application(server, number) as client:
            client.delete(MARKER)
            if kind == "a text":
                client.set(MARKER, "somebody's")
            else:
                client.hset(MARKER, "token", "another")
        with pytest.raises(ConfigurationError, match="lost our marker"):
            mine.flush()
    assert keys(server, number) == {MARKER}


def test_other_databases_stay_unchanged_under_load(server: str) -> None:
    stop = Event()

    def apply(number: int) -> int:
        written = 0
        with application(server, number) as client:
            while not stop.is_set():
                client.set(f"key{written}", written)
                written += 1
        return written

    others = (0, 1, 2)
    with ThreadPoolExecutor() as threads:
        with ExitStack() as stack:
            stack.callback(stop.set)
            writing = [threads.submit(apply, number) for number in others]
            for number in others:
                until(partial(_wrote, server, number), 10)
            for _ in range(10):
                with claimed(server) as mine, redis.Redis.from_url(mine.url) as tests:
                    assert number_of(mine) == 3
                    for _ in range(10):
                        tests.mset({f"test{each}": each for each in range(50)})
                        mine.flush()
                        assert tests.keys() == [MARKER.encode()]
        counts = [each.result() for each in writing]
    for number, count in zip(others, counts, strict=True):
        assert count > 0
        assert keys(server, number) == {f"key{each}" for each in range(count)}


def _wrote(server: str, number: int) -> None:
    assert keys(server, number)


# Databases that were given up, and are taken back.


def agree(_: str) -> None:
    """Agree to the deletion."""


def test_discard_empties_an_unmarked_database_so_that_it_can_be_claimed(server: str) -> None:
    put(server, 2)
    with application(server, 3) as client:
        client.mset({b"\xff%d" % each: each for each in range(2 * shared.CHUNK)})
    second, third = redis_databases.unmarked(server)
    assert re.match(r"not taken for tests: database 2 of .*, which holds 1 keys; when", second)
    assert "uv run invoke db.gc --redis-database 2" in second
    assert "database 3 of" in third
    told: list[str] = []
    discarded = redis_databases.discard(server, 3, told.append)
    assert told == [discarded] == [f"{2 * shared.CHUNK} keys in database 3 of {server}"]
    assert redis_databases.discard(server, 3, told.append) is None
    assert redis_databases.unmarked(server) == [second]
    assert theirs(server, 2)
    with claimed(server) as mine:
        assert number_of(mine) == 3


def test_discard_keeps_a_key_written_during_the_confirmation(server: str) -> None:
    put(server, 3)
    redis_databases.discard(server, 3, lambda _: put(server, 3, "another"))
    assert keys(server, 3) == {"another"}


def test_discard_deletes_nothing_without_consent(server: str) -> None:
    def refuse(what: str) -> None:
        raise ConfigurationError(what)

    put(server, 3)
    with pytest.raises(ConfigurationError, match="1 keys in database 3"):
        redis_databases.discard(server, 3, refuse)
    assert theirs(server, 3)


@pytest.mark.parametrize("when", ["before", "while it is asked"])
def test_discard_refuses_a_database_with_a_connected_client(when: str, server: str) -> None:
    put(server, 3)
    with ExitStack() as stack:

        def come(_: str = "") -> None:
            stack.enter_context(application(server, 3, client_name="shop"))

        if when == "before":
            come()
        with pytest.raises(ConfigurationError, match=r"somebody uses database 3 .*name=shop"):
            redis_databases.discard(server, 3, come)
    assert theirs(server, 3)


@pytest.mark.parametrize("number", [-1, 0, 1, 4])
def test_discard_refuses_a_database_that_tests_never_take(number: int, server: str) -> None:
    for each in range(4):
        put(server, each)
    with pytest.raises(ConfigurationError, match=f"tests never take database {number} of") as it:
        redis_databases.discard(f"{server}?db=1", number, agree)
    assert it.value.hint == "give one of 2, 3"
    assert all(theirs(server, each) for each in range(4))


def test_discard_refuses_a_database_claimed_by_a_run(server: str) -> None:
    with claimed(server) as mine:
        put(server, number_of(mine))
        with pytest.raises(ConfigurationError, match="taken by a run of") as it:
            redis_databases.discard(server, number_of(mine), agree)
        assert it.value.hint == "wait for that run"
        assert theirs(server, number_of(mine))


# The database of the stack.


def test_the_database_of_the_stack_stays_reserved_until_it_is_freed(server: str) -> None:
    number = redis_databases.reserve(server)
    put(server, number, "stored")
    with claimed(server) as mine:
        assert number_of(mine) != number
    with pytest.raises(ConfigurationError, match="taken by the stack of") as it:
        redis_databases.discard(server, number, agree)
    assert it.value.hint == "uv run invoke stack.clean"
    assert redis_databases.sweep(server) == ([], [])
    assert redis_databases.unmarked(server) == []
    assert redis_databases.reserve(server) == number
    assert theirs(server, number, "stored")
    assert redis_databases.free(server) is None
    assert redis_databases.free(server) is None
    assert not keys(server, number) | keys(server, 0)


def test_the_stack_keeps_its_database_after_a_service_has_flushed_it(server: str) -> None:
    number = redis_databases.reserve(server)
    with application(server, number) as service:
        service.flushdb()
    with claimed(server) as mine:
        assert number_of(mine) != number
    assert redis_databases.reserve(server) == number
    put(server, number)
    assert redis_databases.free(server) is None
    assert not keys(server, number)


def test_keys_of_others_in_the_database_of_the_stack_are_left_alone(server: str) -> None:
    number = redis_databases.reserve(server)
    with application(server, number, client_name="shop") as client:
        client.set("somebody", "else's")
        reason = redis_databases.free(server)
    assert reason
    assert "name=shop" in reason
    assert f"uv run invoke db.gc --redis-database {number}" in reason
    assert keys(server, number) == {"somebody"}
    assert redis_databases.reserve(server) != number


# The cost, and what a run's own clients may do.


def test_cleaning_after_a_test_without_writes_takes_one_round_trip(server: str) -> None:
    with claimed(server) as mine, application(server, 0) as client:
        client.config_resetstat()
        mine.flush()
        counts = client.info("commandstats")
        assert counts["cmdstat_eval"]["calls"] == 1
        # The commands within the script, and the EVAL that runs it.
        in_it = {f"cmdstat_{each}" for each in ("eval", "dbsize", "hget", "hset", "time")}
        assert {name for name in counts if not name.startswith("cmdstat_config")} <= in_it


def test_all_keys_written_by_a_test_are_deleted(server: str) -> None:
    with claimed(server) as mine, redis.Redis.from_url(mine.url) as tests:
        tests.mset({b"\xff%d" % each: each for each in range(2 * shared.CHUNK + 1)})
        tests.set("", "a key without a name")
        tests.set("short", 1, px=1)
        mine.flush()
        assert tests.keys() == [MARKER.encode()]
        until(lambda: _only_marker(tests), 5)


def _only_marker(client: "redis.Redis") -> None:
    assert client.dbsize() == 1


def test_a_test_connection_may_add_a_suffix_to_its_client_name(server: str) -> None:
    with claimed(server) as mine:
        name = mine.url.partition("client_name=")[2]
        with application(server, number_of(mine), client_name=f"{name}.worker") as tests:
            tests.set("test", 1)
            mine.flush()
            assert set(tests.keys()) == {MARKER}


def test_a_client_looking_for_a_free_database_does_not_count_as_a_user(server: str) -> None:
    with claimed(server) as mine, redis.Redis.from_url(mine.url) as tests:
        tests.set("test", 1)
        with application(server, number_of(mine), client_name=LOOKING):
            mine.flush()
        assert tests.keys() == [MARKER.encode()]


@pytest.mark.parametrize(
    ("given", "number", "expected"),
    [
        ("redis://me:a%2Fb@h:1/3", 5, "redis://me:a%2Fb@h:1?db=5&client_name=x"),
        ("rediss://h/3?ssl_cert_reqs=none", 5, "rediss://h?ssl_cert_reqs=none&db=5&client_name=x"),
        ("unix:///run/r.sock?db=3", 5, "unix:///run/r.sock?db=5&client_name=x"),
    ],
)
def test_the_url_of_a_database_keeps_the_scheme_and_options_of_the_server(
    given: str, number: int, expected: str
) -> None:
    assert redis_databases.url(given, number, "x") == expected
    assert redis.Redis.from_url(expected).connection_pool.connection_kwargs["db"] == number


# Servers and roles that do not allow this use.


@pytest.mark.parametrize("kind", ["one database", "a cluster"])
def test_a_server_with_one_database_is_refused(kind: str, start: Callable[..., str]) -> None:
    options = ["--databases", "1"]
    if kind == "a cluster":
        options = ["--cluster-enabled", "yes", "--port", str(free_port())]
        options += ["--cluster-port", str(free_port())]
    server = start(*options)
    with (
        pytest.raises(InfrastructureError, match="only one database, as with `databases 1`") as it,
        claimed(server),
    ):
        pass
    assert it.value.code is Code.INFRASTRUCTURE
    with redis.Redis.from_url(server) as client:
        assert client.dbsize() == 0


@pytest.mark.parametrize(
    "right",
    [f"-{right[1:]}" for right in shared.RIGHTS.split() if right[0] == "+" and right != "+ping"]
    + ["resetkeys ~shop:*"],
)
def test_an_error_for_a_missing_right_names_the_rule_that_grants_it(
    right: str, server: str
) -> None:
    def connected() -> list[str]:
        with claimed(server.replace("unix://", "unix://tester:a+b@")) as mine:
            return list(keys(server, number_of(mine)))

    put(server, 0)
    with application(server, 0) as admin:
        rules = ["on", ">a+b", "~*", "+@all", "-@admin", "+client|list", *right.split()]
        admin.execute_command("ACL", "SETUSER", "tester", *rules)
        with pytest.raises(InfrastructureError, match="lacks rights") as refusal:
            connected()
        assert refusal.value.code is Code.INFRASTRUCTURE
        assert "a+b" not in str(refusal.value)
        expect_nothing_left(server)
        rule = refusal.value.hint.partition("ACL SETUSER tester ")[2].partition(";")[0]
        admin.execute_command("ACL", "SETUSER", "tester", "resetkeys", "-@all", *rule.split())
        assert connected() == [MARKER]
        expect_nothing_left(server)


def test_cleaning_works_without_the_right_to_flushdb(server: str) -> None:
    with application(server, 0) as admin:
        admin.execute_command("ACL", "SETUSER", "default", "-@dangerous", "+keys", "+client|list")
    with claimed(server) as mine, redis.Redis.from_url(mine.url) as tests:
        with pytest.raises(redis.exceptions.NoPermissionError):
            tests.flushdb()
        tests.set("test", 1)
        mine.flush()
        assert tests.keys() == [MARKER.encode()]


def test_a_server_without_a_required_command_is_refused(start: Callable[..., str]) -> None:
    server = start("--databases", "4", "--rename-command", "KEYS", "")
    with pytest.raises(InfrastructureError, match=r"refuses: .*unknown command"), claimed(server):
        pass
    with redis.Redis.from_url(server) as client:
        assert client.info("keyspace") == {}
