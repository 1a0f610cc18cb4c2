"""The announcements on Redis.

A message may get lost, since Redis keeps none for a subscriber that is just connecting again; so
the newest version is stored as well. It is a random one: after a loss of data none comes again.
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
"""Seconds after which what is stored is looked at, though no message came."""
GRACE = 5.0
"""Seconds that a subscriber may take to connect."""
BACKOFF = ExponentialWithJitterBackoff(base=0.05, cap=0.5)

_log = structlog.get_logger()


class RedisAnnouncements:
    """Keeps the version in a key, and sends it through a channel."""

    def __init__(self, client: Redis, *, reconcile: float = RECONCILE) -> None:
        self._client = client
        self._reconcile = reconcile
        # Redis delivers messages across its numbered databases.
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
            # Whatever it is, a user without the right among them: somebody fixes it, and nobody
            # starts the process again for it.
            except (errors.UnavailableError, RedisError, OSError) as error:
                _log.warning("announcements interrupted", reason=str(error))
                await drop_idle(self._client)
                failures += 1
                await asyncio.sleep(BACKOFF.compute(failures))  # Nobody says when it is back.

    async def ping(self) -> None:
        await self._client.ping()

    async def _follow(self) -> AsyncGenerator[str]:
        """Yield the version, as long as the connection lasts."""
        async with self._client.pubsub() as pubsub:
            async with asyncio.timeout(GRACE):
                await pubsub.subscribe(self._channel)
            while True:
                # The outer limit is for a connection that breaks, and that redis-py makes anew.
                async with asyncio.timeout(self._reconcile + GRACE):
                    message = await pubsub.get_message(timeout=self._reconcile)
                # That this is the first news, or that some were missed, since it is another
                # connection. To look before it would miss what is announced in between.
                if message and message["type"] == "message":
                    yield str(message["data"])
                else:
                    yield str(await self._client.get(VERSION) or "")
