"""Redis client of the gateway, with its errors and the prefix of its keys."""

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
"""Maximum number of connections for commands; further commands wait for one."""


class Client(Redis):
    """Redis client whose commands raise UnavailableError after `timeout` seconds at the latest."""

    def __init__(self, pool: ConnectionPool, timeout: float) -> None:
        super().__init__(connection_pool=pool)
        self.auto_close_connection_pool = True
        self._timeout = timeout
        # An exhausted ConnectionPool raises; BlockingConnectionPool costs 50% more per command.
        self._turns = asyncio.Semaphore(CONNECTIONS)
        self._waiting: list[tuple[tuple[object, ...], asyncio.Future[Any]]] = []
        """Commands of the next pipeline, each with the future of its response."""
        self._sending: asyncio.Task[None] | None = None

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """Run a command; every method of redis-py ends here."""
        async with self._turn():
            return await super().execute_command(*args, **options)  # type: ignore[no-untyped-call]

    async def execute_together(self, *command: object) -> Any:
        """Run a command in a pipeline with all that arrive while the previous one is in flight.

        Without pipelines, each of 16 concurrent requests costs 50% more CPU. A command waits for
        one more round trip at most.
        """
        answer = asyncio.get_running_loop().create_future()
        self._waiting.append((command, answer))
        if self._sending is None or self._sending.done():
            # In its own task: cancelling the first caller must not affect the others.
            self._sending = asyncio.create_task(self._send())
        return await answer

    async def _send(self) -> None:
        while self._waiting:
            waiting, self._waiting = self._waiting, []
            try:
                answers = await self._execute([command for command, _ in waiting])
            except Exception as error:  # noqa: BLE001 - raised in the callers
                if isinstance(error.__cause__, TimeoutError):
                    # Commands that arrived meanwhile have waited as well: fail them, too.
                    waiting += self._waiting
                    self._waiting = []
                answers = [error] * len(waiting)
            for (_, future), answer in zip(waiting, answers, strict=True):
                if future.done():
                    continue  # Its caller was cancelled.
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
            # One timeout for the semaphore, the connection and the response together.
            async with asyncio.timeout(self._timeout), self._turns:
                yield
        except UNAVAILABLE as error:
            # The idle connections are most likely broken as well, and each would fail another
            # command, since redis-py does not notice that a connection was reset.
            with suppress(*UNAVAILABLE):  # Closing a TLS connection may fail, too.
                await self.connection_pool.disconnect(inuse_connections=False)
            raise errors.UnavailableError("redis") from error


def connect(url: str, *, timeout: float) -> Client:
    """Return a client that waits at most `timeout` seconds for the response to a command.

    It connects on first use. The caller closes it.
    """
    pool = ConnectionPool.from_url(
        url,
        decode_responses=True,
        max_connections=2**31,
        socket_connect_timeout=timeout,
        # Client has its own timeout, at half the cost. That of redis-py, asyncio.wait_for, may
        # swallow a cancellation up to Python 3.11.
        socket_timeout=None,
        # No retry after a lost response: giving tokens back twice would admit too many requests.
        # The pool itself notices that an idle connection was closed.
        retry=Retry(NoBackoff(), 0),
    )
    return Client(pool, timeout)
