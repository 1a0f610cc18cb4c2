"""Updates of the config on Redis: across processes, and when connections break."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from uuid import UUID, uuid4

import pytest
import structlog

from stratakit.testing import eventually

from gateway import errors
from gateway.adapters.redis import connection
from gateway.adapters.redis.config import CONFIG, POLICY, RECONCILE, RedisConfigStore
from gateway.adapters.redis.connection import Client
from gateway.domain import Config, PolicyUpdate
from gateway.ports import ConfigStore

from ..proxy import Proxy
from ..updates import following
from .people import TRIES

# Of those as well that publish by another store, or change what is stored: see its end.
pytestmark = pytest.mark.usefixtures("redis_config")

TEAM = UUID(int=7)
LOOK = b"HMGET"
"""What a store sends when it looks at the config."""

# A gateway that publishes for each line that it reads, and prints when it began to.
PUBLISHING = """
import asyncio, sys, time, uuid
from gateway.adapters.redis import config, connection
from gateway.domain import Config

async def main():
    client = connection.connect(sys.argv[1], timeout=5)
    store = config.RedisConfigStore(client)
    await store.ping()
    for _ in sys.stdin:
        print(time.time(), flush=True)
        await store.publish(Config(max_tokens=5))
        await store.publish_policy(uuid.UUID(int=7))
    await client.aclose()

asyncio.run(main())
"""


@pytest.fixture
def mine(through: Client) -> RedisConfigStore:
    """The config store as this process sees it; `redis_config` is that of the others."""
    return RedisConfigStore(through)


@asynccontextmanager
async def publishing(redis_url: str) -> AsyncIterator[Callable[[], Awaitable[float]]]:
    """Start another process; yield what has it publish, and returns when that began."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PUBLISHING, redis_url),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin
    assert process.stdout
    sending, said = process.stdin, process.stdout

    async def publish() -> float:
        sending.write(b"\n")
        return float(await said.readline())

    try:
        yield publish
    finally:
        # It ends with what it reads, which an empty input ends.
        await process.communicate(b"")


async def test_what_another_process_publishes_is_seen_within_a_second(
    redis_url: str, redis_config: ConfigStore
) -> None:
    delays = []
    async with following(redis_config) as seen, publishing(redis_url) as publish:
        for version in range(1, TRIES + 1):
            began = await publish()
            await eventually(lambda: len(seen) == 2 + 2 * version)  # noqa: B023 - awaited here
            delays.append(time.time() - began)
            assert {update.version for update in seen[-2:]} == {version}
    assert min(delays) < 1


@pytest.mark.parametrize("fault", [Proxy.cut, Proxy.partition])
async def test_what_is_published_while_the_connection_is_away_is_seen_when_it_is_back(
    proxy: Proxy,
    mine: RedisConfigStore,
    redis_config: ConfigStore,
    fault: Callable[[Proxy], object],
) -> None:
    async with following(mine) as seen:
        await getattr(proxy, fault.__name__)()
        await redis_config.publish(Config(max_tokens=1))
        published = await redis_config.publish(Config(max_tokens=2))
        await redis_config.publish_policy(TEAM)
        await redis_config.publish_policy(TEAM)
        assert len(seen) == 2
        await proxy.heal()
        await eventually(lambda: seen[2:4] == [published, PolicyUpdate(2, None)])
        third = await redis_config.publish_policy(TEAM)
        # For all teams, if messages that were held back made the follower look at what is stored.
        await eventually(lambda: third in seen or replace(third, team_id=None) in seen)


async def test_after_a_break_all_is_told_anew(
    proxy: Proxy, mine: RedisConfigStore, redis_config: ConfigStore
) -> None:
    published = await redis_config.publish(Config(max_tokens=1))
    async with following(mine) as seen:
        await proxy.cut()
        await proxy.heal()
        await eventually(lambda: len(seen) == 4)
    assert seen == 2 * [published, PolicyUpdate(0, None)]


async def test_who_follows_a_server_that_is_not_there_waits_for_it(
    proxy: Proxy, mine: RedisConfigStore
) -> None:
    await proxy.cut()
    with structlog.testing.capture_logs() as lines:

        async def heal() -> None:
            await eventually(lambda: len(lines) > 2)
            await proxy.heal()

        healing = asyncio.create_task(heal())
        async with following(mine) as seen:
            assert seen == [Config(), PolicyUpdate(0, None)]
        await healing
    assert {line["event"] for line in lines} == {"config_updates_interrupted"}


async def test_what_is_published_in_another_database_of_the_server_is_not_heard(
    redis_url: str, redis_client: Client, redis_config: ConfigStore
) -> None:
    # Nobody is there, not even another worker, and nothing is written there.
    async with aclosing(connection.connect(redis_url, timeout=5)) as elsewhere:
        elsewhere.connection_pool.connection_kwargs["db"] = 1_000_000
        channel = RedisConfigStore(elsewhere)._channel  # noqa: SLF001 - as another gateway's
    async with following(redis_config) as seen:
        listeners = await redis_client.publish(channel, "policy 1 ")
        assert listeners == 0
        published = await redis_config.publish_policy(TEAM)
        await eventually(lambda: len(seen) > 2)
    assert seen[2:] == [published]


async def test_a_policy_update_that_was_missed_counts_for_all_teams(
    redis_client: Client, redis_config: ConfigStore
) -> None:
    async with following(redis_config) as seen:
        # As if the message had been lost.
        await redis_client.incr("gateway:policy")
        await redis_config.publish_policy(TEAM)
        await eventually(lambda: len(seen) > 2)
    assert seen[2:] == [PolicyUpdate(2, None)]


async def test_what_nobody_told_is_found_in_time(
    redis_client: Client, proxy: Proxy, through: Client
) -> None:
    quick = RedisConfigStore(through, reconcile=0.05)
    async with following(quick) as seen:
        await redis_client.incr("gateway:policy")
        await redis_client.hset(CONFIG, mapping={"version": 5, "config": "{}"})
        await eventually(lambda: Config(version=5) in seen and PolicyUpdate(1, None) in seen)
        looked = proxy.count(LOOK)
        await eventually(lambda: proxy.count(LOOK) > looked + 3)
    assert len(seen) == 4


async def test_a_config_that_cannot_be_read_is_logged_once(
    redis_client: Client, proxy: Proxy, through: Client
) -> None:
    quick = RedisConfigStore(through, reconcile=0.02)
    await redis_client.hset(CONFIG, "config", "{")
    with structlog.testing.capture_logs() as lines:
        async with following(quick) as seen:
            looked = proxy.count(LOOK)
            await eventually(lambda: proxy.count(LOOK) > looked + 3)
            published = await quick.publish(Config())
            await eventually(lambda: published in seen)
    assert [(line["event"], line["log_level"]) for line in lines] == [
        ("config_unreadable", "warning")
    ]


async def test_a_version_that_is_no_number_is_waited_out(redis_client: Client) -> None:
    quick = RedisConfigStore(redis_client, reconcile=0.02)
    with structlog.testing.capture_logs() as lines:
        async with following(quick) as seen:
            await redis_client.set(POLICY, "many")
            await eventually(lambda: lines)
            await redis_client.set(POLICY, 5)
            await eventually(lambda: PolicyUpdate(5, None) in seen)
    assert {line["event"] for line in lines} == {"config_updates_interrupted"}


async def test_nobody_is_left_subscribed(redis_url: str, redis_client: Client) -> None:
    async def subscribed() -> int:
        clients = await redis_client.client_list(_type="pubsub")
        return sum(client["name"] == name for client in clients)

    async def left() -> bool:
        return await subscribed() == 0

    async with aclosing(connection.connect(redis_url, timeout=5)) as client:
        # A gateway that other tests have started follows as well. By the name in the URL, if there
        # is one, connections are known to be a test's.
        options = client.connection_pool.connection_kwargs
        name = options["client_name"] = f"{options.get('client_name', 'test')}.{uuid4().hex}"
        store = RedisConfigStore(client)
        async with following(store), following(store):
            assert await subscribed() == 2
        await eventually(left)


async def test_commands_fail_while_the_server_is_gone_and_work_when_it_is_back(
    proxy: Proxy, mine: RedisConfigStore
) -> None:
    await mine.ping()
    await proxy.cut()
    with pytest.raises(errors.UnavailableError):
        await mine.fetch()
    await proxy.heal()
    await mine.fetch()


async def test_a_server_that_does_not_answer_is_not_waited_for_any_longer_than_was_said(
    proxy: Proxy,
) -> None:
    async with aclosing(connection.connect(proxy.url, timeout=0.5)) as client:
        hasty = RedisConfigStore(client)
        # Eventually, since half a second may pass while a machine is busy with other things.
        await eventually(hasty.fetch)
        await proxy.partition()
        before = time.monotonic()
        with pytest.raises(errors.UnavailableError):
            await hasty.publish_policy(None)
        assert 0.4 < time.monotonic() - before < RECONCILE / 6
        await proxy.heal()
        await eventually(hasty.fetch)
