"""Limiter port on Redis or Valkey, and its client."""

import asyncio
import contextvars
from collections import Counter
from itertools import chain
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import structlog
from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError

from servicebase.redis import translated

from .. import domain, errors, ports

PREFIX = "gateway:"
_SECOND = 1_000_000  # In microseconds, since integers are exact in Lua, too.
VERSION = PREFIX + "version"
"""Key with the version of the newest announcement."""
ANY = "*"
"""Argument of limiter.lua for a request that does not depend on the version."""
DELAY = 0.05
"""Seconds after which a correction is sent, unless an admission of the team has included it."""

_log = structlog.get_logger("limiter")

Command = tuple[tuple[Any, ...], dict[str, Any]]


class Client(Redis):
    """Redis client whose commands raise UnavailableError after `timeout` seconds.

    A command may wait as long for those before it. It connects on first use. The caller closes it.
    """

    def __init__(self, url: str, *, timeout: float) -> None:
        pool = ConnectionPool.from_url(
            url,
            decode_responses=True,
            socket_connect_timeout=timeout,
            # Client has its own timeout, at half the cost. That of redis-py, asyncio.wait_for, may
            # swallow a cancellation up to Python 3.11.
            socket_timeout=None,
            # No retry after a lost response: giving tokens back twice would admit too many
            # requests. The pool itself notices that an idle connection was closed.
            retry=Retry(NoBackoff(), 0),
        )
        super().__init__(connection_pool=pool)
        self.auto_close_connection_pool = True
        self._timeout = timeout
        self._waiting: list[tuple[Command, asyncio.Future[Any]]] = []
        """Commands of the next pipeline, each with the future of its response."""
        self._sending: asyncio.Task[None] | None = None

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """Run a command in a pipeline with all that arrive while the previous one is in flight.

        Every method of redis-py ends here. Without pipelines, each of 16 concurrent requests costs
        50% more CPU. A command waits for one more round trip at most.
        """
        answer = asyncio.get_running_loop().create_future()
        self._waiting.append(((args, options), answer))
        if self._sending is None or self._sending.done():
            # In its own task: cancelling the first caller must not affect the others.
            self._sending = asyncio.create_task(self._send())
        with translated():
            return await answer

    async def _send(self) -> None:
        while self._waiting:
            waiting, self._waiting = self._waiting, []
            try:
                answers = await self._execute([command for command, _ in waiting])
            except Exception as error:  # noqa: BLE001 - raised in the callers
                if isinstance(error, TimeoutError):
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

    async def _execute(self, commands: list[Command]) -> list[Any]:
        # One timeout for the connection and the responses together.
        async with asyncio.timeout(self._timeout), self.pipeline(transaction=False) as pipeline:
            for args, options in commands:
                pipeline.execute_command(*args, **options)
            return await pipeline.execute(raise_on_error=False)


class RedisLimiter:
    """Sliding window of each team in a key that expires; limiter.lua documents its contents.

    A round trip costs the gateway more CPU than everything else that a request does with Redis. So
    a request takes at most one, which it shares with others; the correction after it is sent with
    the next admission.
    """

    def __init__(self, client: Client, clock: ports.Clock) -> None:
        text = Path(__file__).with_name("limiter.lua").read_text(encoding="utf-8")
        self._client, self._clock = client, clock
        self._script = client.register_script(text)
        self._due: dict[UUID, Counter[int]] = {}
        """Pending corrections of tokens, by team and second."""
        self._flushing: asyncio.Task[None] | None = None

    async def admit(
        self, team: UUID, limits: domain.Limits, tokens: int, version: str | None = None
    ) -> ports.Admission:
        now = round(self._clock.now().timestamp() * _SECOND)
        known = ANY if version is None else version
        answer = await self._run(team, now, limits.requests, limits.tokens, tokens, known)
        refused, newest, requests_left, tokens_left, *times = answer
        seconds = (time / _SECOND for time in times)
        return ports.Admission(refused, newest, requests_left, tokens_left, *seconds)

    def settle(self, team: UUID, at: float, tokens: int) -> None:
        """Correct the tokens that an admission counted, with the next one or after `DELAY`."""
        self._due.setdefault(team, Counter())[int(at)] += tokens
        if self._flushing is None or self._flushing.done():
            # An empty context: log lines of a flush must not have the id of one request.
            context = contextvars.Context()
            self._flushing = asyncio.create_task(self._flush_soon(), context=context)

    async def announce(self) -> str:
        # Random: no version is repeated after Redis has lost its data.
        version = uuid4().hex
        await self._client.set(VERSION, version)
        return version

    async def version(self) -> str:
        return str(await self._client.get(VERSION) or "")

    async def flush(self) -> None:
        """Send all pending corrections. If that fails they are lost, rather than sent twice."""
        try:
            for team in [*self._due]:
                await self._run(team, "", "", "", "", ANY)
        except errors.UnavailableError as error:
            # The counts leave the window in a minute anyway.
            self._due.clear()
            _log.warning("tokens not settled", cause=repr(error.__cause__))

    async def _run(self, team: UUID, *request: int | str) -> Any:
        """Run the script with the pending corrections of a team."""
        corrections = chain.from_iterable(self._due.pop(team, Counter()).items())
        keys = (f"{PREFIX}window:{team}", VERSION)
        command = ("EVALSHA", self._script.sha, len(keys), *keys, *request, *corrections)
        try:
            return await self._client.execute_command(*command)
        except NoScriptError:
            # The server was restarted, and has lost the script.
            await self._client.execute_command("SCRIPT LOAD", self._script.script)
            return await self._client.execute_command(*command)

    async def _flush_soon(self) -> None:
        while self._due:
            await asyncio.sleep(DELAY)
            await self.flush()
