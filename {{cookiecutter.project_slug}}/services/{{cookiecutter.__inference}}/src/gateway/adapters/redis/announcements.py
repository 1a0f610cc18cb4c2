"""Announcements on Redis.

Redis keeps no messages for a subscriber that is reconnecting, so the newest version is also stored
in a key. Versions are random, so that none is repeated after Redis has lost its data.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from uuid import uuid4

import structlog
from redis.asyncio import Redis
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import RedisError

from ... import errors
from .connection import PREFIX, drop_idle

VERSION = PREFIX + "version"
RECONCILE = 30.0
"""Seconds without a message after which the stored version is read."""
GRACE = 5.0
"""Seconds that a subscriber may take to connect."""
BACKOFF = ExponentialWithJitterBackoff(base=0.05, cap=0.5)

_log = structlog.get_logger()


class RedisAnnouncements:
    """Announcements port: the version is stored in a key and published on a channel."""

    def __init__(self, client: Redis, *, reconcile: float = RECONCILE) -> None:
        self._client = client
        self._reconcile = reconcile
        # Redis delivers messages across its numbered databases, so the channel names its own.
        database = int(client.connection_pool.connection_kwargs.get("db") or 0)
        self._channel = f"{PREFIX}updates:{database}"

    async def announce(self) -> None:
        version = uuid4().hex
        await self._client.set(VERSION, version)
        await self._client.publish(self._channel, version)

    async def versions(self) -> AsyncGenerator[str]:
        failures = 0
        while True:
            try:
                async with aclosing(self._follow()) as following:
                    async for version in following:
                        failures = 0
                        yield version
            # Any error, such as a missing permission of the Redis user: once it is fixed, the
            # process goes on without a restart.
            except (errors.UnavailableError, RedisError, OSError) as error:
                _log.warning("announcements interrupted", reason=str(error))
                await drop_idle(self._client)
                failures += 1
                await asyncio.sleep(BACKOFF.compute(failures))  # Nothing tells when it is back.

    async def ping(self) -> None:
        await self._client.ping()

    async def _follow(self) -> AsyncGenerator[str]:
        """Yield versions as long as the connection lasts."""
        async with self._client.pubsub() as pubsub:
            async with asyncio.timeout(GRACE):
                await pubsub.subscribe(self._channel)
            while True:
                # The outer timeout is for a broken connection that redis-py tries to restore.
                async with asyncio.timeout(self._reconcile + GRACE):
                    message = await pubsub.get_message(timeout=self._reconcile)
                # Otherwise it is a timeout, or the confirmation of a (new) subscription: reading
                # the key before that would miss what is announced in between.
                if message and message["type"] == "message":
                    yield str(message["data"])
                else:
                    yield str(await self._client.get(VERSION) or "")
