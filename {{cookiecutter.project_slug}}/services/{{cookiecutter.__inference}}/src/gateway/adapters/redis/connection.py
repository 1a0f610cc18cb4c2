"""How the gateway talks to Redis: the client, its errors, the prefix of its keys."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from servicebase.redis import UNAVAILABLE

from ... import errors

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
        self._waiting: list[tuple[tuple[object, ...], asyncio.Future[Any]]] = []
        """Commands that are to be sent together, and who waits for the answers."""
        self._sending: asyncio.Task[None] | None = None

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """Run a command, as all methods of redis-py do in the end."""
        async with self._turn():
            return await super().execute_command(*args, **options)  # type: ignore[no-untyped-call]

    async def execute_together(self, *command: object) -> Any:
        """Run a command in one round trip with those that come while the last is on its way.

        Without that, a request of 16 at once costs half as much CPU again. Who comes meanwhile
        waits for one more round trip at most.
        """
        answer = asyncio.get_running_loop().create_future()
        self._waiting.append((command, answer))
        if self._sending is None or self._sending.done():
            # A task of its own: the one who asked first may be cancelled, and the others may not.
            self._sending = asyncio.create_task(self._send())
        return await answer

    async def _send(self) -> None:
        while self._waiting:
            waiting, self._waiting = self._waiting, []
            try:
                answers = await self._execute([command for command, _ in waiting])
            except Exception as error:  # noqa: BLE001 - theirs, whatever it is
                if isinstance(error.__cause__, TimeoutError):
                    # Who has come meanwhile has waited as well.
                    waiting += self._waiting
                    self._waiting = []
                answers = [error] * len(waiting)
            for (_, future), answer in zip(waiting, answers, strict=True):
                if future.done():
                    continue  # Whoever asked is gone.
                if isinstance(answer, Exception):
                    future.set_exception(answer)
                else:
                    future.set_result(answer)

    async def _execute(self, commands: list[tuple[object, ...]]) -> list[Any]:
        async with self._turn(), self.pipeline(transaction=False) as pipeline:
            for command in commands:
                pipeline.execute_command(*command)
            answers = await pipeline.execute(raise_on_error=False)
            for answer in answers:
                if isinstance(answer, UNAVAILABLE):
                    raise answer
            return answers

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        try:
            # For the turn, the connection and the answer together.
            async with asyncio.timeout(self._timeout), self._turns:
                yield
        except UNAVAILABLE as error:
            await drop_idle(self)
            raise errors.UnavailableError("redis") from error


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
