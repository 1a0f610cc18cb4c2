"""The limiter on Redis."""

import asyncio
import contextvars
from collections import Counter
from importlib import resources
from itertools import chain
from typing import Any
from uuid import UUID

import structlog
from redis.exceptions import NoScriptError

from ... import domain, errors, ports
from ...background import Background
from .announcements import VERSION
from .connection import PREFIX, Client, Command

_REFUSED = (None, "requests", "tokens")
_SECOND = 1_000_000  # Microseconds: as integers, times are exact in Lua, too.
DELAY = 0.05
"""Seconds after which a correction is sent, if no admission of the team has taken it along."""

_log = structlog.get_logger("limiter")


class RedisLimiter:
    """Keeps one key per team, which expires by itself; limiter.lua tells what is in it.

    A round trip costs more of our CPU than all else that a request does with Redis. So a request
    costs one at most: what is to be corrected after it goes with the next admission. And requests
    that came in one turn of the event loop share one: without that, one of 16 costs a third more.
    """

    def __init__(self, client: Client, clock: ports.Clock) -> None:
        text = resources.files(__package__).joinpath("limiter.lua").read_text(encoding="utf-8")
        self._client = client
        self._clock = clock
        self._script = client.register_script(text)
        self._pending: list[tuple[Command, asyncio.Future[Any]]] = []
        """Runs of the script that are to be sent together, and who waits for the answer of each."""
        self._due: dict[UUID, Counter[int]] = {}
        """Tokens to correct, of each team in each second."""
        self._timer: asyncio.TimerHandle | None = None
        self._background = Background()

    async def admit(self, team: UUID, limits: domain.Limits, tokens: int) -> ports.Admission:
        now = round(self._clock.now().timestamp() * _SECOND)
        answer = await self._run(team, now, limits.requests, limits.tokens, tokens)
        refused, version, requests_left, tokens_left, *times = answer
        seconds = (time / _SECOND for time in times)
        what = _REFUSED[refused]
        return ports.Admission(what, version, requests_left, tokens_left, *seconds)

    async def settle(self, team: UUID, at: float, tokens: int) -> None:
        """Correct the tokens that an admission counted, with the next one or after `DELAY`."""
        self._due.setdefault(team, Counter())[int(at)] += tokens
        if self._timer is None:
            # It is for many requests: a line of its log must not bear the id of the first.
            self._timer = asyncio.get_running_loop().call_later(
                DELAY, self._flush_soon, context=contextvars.Context()
            )

    async def flush(self) -> None:
        """Send all corrections that are due. What does not arrive is lost, and not sent twice."""
        try:
            for team in list(self._due):
                await self._run(team, "", "", "", "")
        except errors.UnavailableError as error:
            # They are out of the window in a minute anyway.
            _log.warning("tokens not settled", cause=repr(error.__cause__))

    async def _run(self, team: UUID, *request: int | str) -> Any:
        """Run the script, and take along what is due of a team."""
        corrections = chain.from_iterable(self._due.pop(team, Counter()).items())
        keys = (f"{PREFIX}window:{team}", VERSION)
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Any] = loop.create_future()
        command = ("EVALSHA", self._script.sha, len(keys), *keys, *request, *corrections)
        self._pending.append((command, answer))
        if len(self._pending) == 1:
            loop.call_soon(self._send_soon)
        return await answer

    def _send_soon(self) -> None:
        # A task of its own: the one who asked first may be cancelled, and the others may not.
        self._background.start(self._send(self._pending))
        self._pending = []

    async def _send(self, pending: list[tuple[Command, asyncio.Future[Any]]]) -> None:
        commands = [command for command, _ in pending]
        try:
            answers = await self._client.execute_batch(commands)
            if any(isinstance(answer, NoScriptError) for answer in answers):
                # A server that was started anew knows no script, so none has run.
                await self._client.script_load(self._script.script)
                answers = await self._client.execute_batch(commands)
        except Exception as error:  # noqa: BLE001 - theirs, whatever it is
            answers = [error] * len(pending)
        for (_, future), answer in zip(pending, answers, strict=True):
            if future.done():
                continue  # Its caller was cancelled.
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)

    def _flush_soon(self) -> None:
        self._timer = None
        if self._due:
            self._background.start(self.flush())
