"""How the gateway talks to Redis: the client, its scripts, its errors, the names of its keys."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from importlib import resources
from typing import Any

from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.commands.core import AsyncScript
from redis.exceptions import ResponseError

from servicebase.redis import UNAVAILABLE

from ... import errors

Command = tuple[str | int, ...]

PREFIX = "gateway:"
CONNECTIONS = 64
"""At once, for commands. Who needs one more waits for it."""


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
            raise await self._gone() from error

    async def execute_batch(self, commands: Sequence[Command]) -> list[Any]:
        """Run commands in one round trip; return the answer of each, or its error.

        Raises:
            UnavailableError: some may have run, and some not.
        """
        if len(commands) == 1:
            # A pipeline of one costs a quarter more.
            try:
                return [await self.execute_command(*commands[0])]
            except ResponseError as error:
                return [error]
        try:
            async with (
                asyncio.timeout(self._timeout),
                self._turns,
                self.pipeline(transaction=False) as pipeline,
            ):
                for command in commands:
                    pipeline.execute_command(*command)
                answers = await pipeline.execute(raise_on_error=False)
                for answer in answers:
                    if isinstance(answer, UNAVAILABLE):
                        raise answer
                return answers
        except UNAVAILABLE as error:
            raise await self._gone() from error

    async def _gone(self) -> errors.UnavailableError:
        await drop_idle(self)
        return errors.UnavailableError("redis")


def connect(url: str, *, timeout: float) -> Client:
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


async def drop_idle(client: Redis) -> None:
    """Close the connections that are not in use, after one that broke.

    They have broken as well, most likely: each would cost another request its answer, since
    redis-py does not notice that one was reset.
    """
    # TLS says good-bye, to a server that may not answer.
    with suppress(*UNAVAILABLE):
        await client.connection_pool.disconnect(inuse_connections=False)


def text(*names: str) -> str:
    """Return the script in these files of this package, one after the other."""
    folder = resources.files(__package__)
    return "\n".join(folder.joinpath(name).read_text(encoding="utf-8") for name in names)


def script(client: Redis, *names: str) -> AsyncScript:
    """Return the script in these files of this package.

    Called, it runs by its hash; only a server that does not know it is sent the text.
    """
    return client.register_script(text(*names))


def database(client: Redis) -> int:
    """Return the number of the database that the client uses."""
    return int(client.connection_pool.connection_kwargs.get("db") or 0)
