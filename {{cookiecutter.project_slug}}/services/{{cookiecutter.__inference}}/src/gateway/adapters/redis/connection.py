"""How the gateway talks to Redis: the client, its scripts, its errors, the names of its keys."""

import asyncio
from importlib import resources
from typing import Any

from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.commands.core import AsyncScript
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import OutOfMemoryError, ReadOnlyError
from redis.exceptions import TimeoutError as RedisTimeoutError

from ... import errors

PREFIX = "gateway:"
CONNECTIONS = 64
"""At once, for commands. Who needs one more waits for it."""
UNAVAILABLE = (
    RedisConnectionError,
    RedisTimeoutError,
    # Of a replica that takes over, and of a server that is full.
    ReadOnlyError,
    OutOfMemoryError,
    OSError,
)


class Client(Redis):
    """A client whose commands raise UnavailableError, after `timeout` seconds at the latest."""

    def __init__(self, pool: ConnectionPool, timeout: float) -> None:
        super().__init__(connection_pool=pool)
        self.auto_close_connection_pool = True
        self._timeout = timeout
        # A pool that is used up raises; the one that waits costs half as much again per command.
        self._turns = asyncio.Semaphore(CONNECTIONS)

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """Run a command, as all methods of redis-py do in the end."""
        try:
            # For the turn, the connection and the answer together.
            async with asyncio.timeout(self._timeout), self._turns:
                return await super().execute_command(*args, **options)  # type: ignore[no-untyped-call]
        except UNAVAILABLE as error:
            raise errors.UnavailableError("redis") from error


def connect(url: str, *, timeout: float) -> Redis:
    """Return a client that waits at most `timeout` seconds for the answer to a command.

    It connects when it is first used. The caller closes it.
    """
    pool = ConnectionPool.from_url(
        url,
        decode_responses=True,
        max_connections=2**31,
        socket_connect_timeout=timeout,
        # The client has its own, at half of the cost. With redis-py's, which is asyncio.wait_for, a
        # task that is cancelled goes on as if it was not, up to Python 3.11.
        socket_timeout=None,
        # Nothing is done twice because its answer got lost: tokens given back twice would let
        # too much through. That an idle connection was closed, the pool notices by itself.
        retry=Retry(NoBackoff(), 0),
    )
    return Client(pool, timeout)


def script(client: Redis, *names: str) -> AsyncScript:
    """Return the script in these files of this package, one after the other.

    Called, it runs by its hash; only a server that does not know it is sent the text.
    """
    folder = resources.files(__package__)
    texts = [folder.joinpath(name).read_text(encoding="utf-8") for name in names]
    return client.register_script("\n".join(texts))


def database(client: Redis) -> int:
    """Return the number of the database that the client uses."""
    return int(client.connection_pool.connection_kwargs.get("db") or 0)
