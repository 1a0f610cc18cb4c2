"""Announcements on Redis: across processes, and when connections break or data are lost."""

import asyncio
import time
from contextlib import aclosing
from uuid import uuid4

import pytest
import structlog

from stratakit.testing import eventually

from gateway import errors
from gateway.adapters.redis import connection
from gateway.adapters.redis.announcements import RECONCILE, VERSION, RedisAnnouncements
from gateway.adapters.redis.connection import Client
from gateway.ports import Announcements

from ..following import following
from ..proxy import Proxy


@pytest.mark.parametrize("fault", ["cut", "partition"])
async def test_a_follower_waits_for_a_lost_server_and_hears_what_was_announced_meanwhile(
    proxy: Proxy, through: Client, redis_announcements: Announcements, fault: str
) -> None:
    async def heal() -> None:
        await eventually(lambda: len(lines) > 2)
        await proxy.heal()

    await proxy.cut()
    with structlog.testing.capture_logs() as lines:
        healing = asyncio.create_task(heal())
        mine, others = RedisAnnouncements(through), redis_announcements
        async with following(mine) as seen, following(others) as all_of_it:
            await healing
            await getattr(proxy, fault)()
            for _ in range(2):
                await others.announce()
            assert len(seen) == 1
            await eventually(lambda: len(all_of_it) == 3)
            await proxy.heal()
            await eventually(lambda: seen[-1] == all_of_it[-1])
    assert {line["event"] for line in lines} == {"announcements interrupted"}


async def test_what_is_announced_in_another_database_of_the_server_is_not_heard(
    redis_url: str, redis_client: Client, redis_announcements: Announcements
) -> None:
    # Nobody is there, not even another worker, and nothing is written there.
    async with aclosing(connection.connect(redis_url, timeout=5)) as elsewhere:
        elsewhere.connection_pool.connection_kwargs["db"] = 1_000_000
        channel = RedisAnnouncements(elsewhere)._channel  # noqa: SLF001 - as another gateway's
    async with following(redis_announcements) as seen:
        assert await redis_client.publish(channel, "theirs") == 0
        await redis_announcements.announce()
        await eventually(lambda: len(seen) > 1)
    assert "theirs" not in seen


@pytest.mark.parametrize("wiped", [True, False])
async def test_a_server_that_has_lost_its_data_is_noticed_though_nobody_tells(
    redis_client: Client, proxy: Proxy, through: Client, *, wiped: bool
) -> None:
    quick, others = RedisAnnouncements(through, reconcile=0.05), RedisAnnouncements(redis_client)
    await others.announce()
    async with following(quick) as seen:
        before = seen[0]
        await others.announce()
        await eventually(lambda: len(seen) == 2)
        # All of it, or what is newer than its last copy.
        await (redis_client.delete(VERSION) if wiped else redis_client.set(VERSION, before))
        await eventually(lambda: len(seen) == 3)
        await others.announce()
        await eventually(lambda: len(seen) == 4)
        looks = proxy.count(b"GET")
        await eventually(lambda: proxy.count(b"GET") > looks + 3)
    assert len(seen) == 4
    assert seen[2] == ("" if wiped else before)


async def test_nobody_is_left_subscribed(redis_url: str, redis_client: Client) -> None:
    async def subscribed() -> list[str]:
        clients = await redis_client.client_list(_type="pubsub")
        return [client["name"] for client in clients if client["name"] == name]

    async def left() -> bool:
        return not await subscribed()

    async with aclosing(connection.connect(redis_url, timeout=5)) as client:
        # A gateway that other tests have started follows as well. By the name in the URL, if there
        # is one, connections are known to be a test's.
        options = client.connection_pool.connection_kwargs
        name = options["client_name"] = f"{options.get('client_name', 'test')}.{uuid4().hex}"
        store = RedisAnnouncements(client)
        async with following(store), following(store):
            assert await subscribed() == [name, name]
        await eventually(left)


async def test_a_server_that_is_silent_is_not_waited_for_longer_than_said(proxy: Proxy) -> None:
    async with aclosing(connection.connect(proxy.url, timeout=0.5)) as client:
        # Eventually, since half a second may pass while a machine is busy with other things.
        await eventually(client.ping)
        for fault, least in ((proxy.partition, 0.4), (proxy.cut, 0)):
            await fault()
            before = time.monotonic()
            with pytest.raises(errors.UnavailableError):
                await RedisAnnouncements(client).announce()
            assert least < time.monotonic() - before < RECONCILE / 6
            await proxy.heal()
            await eventually(client.ping)
