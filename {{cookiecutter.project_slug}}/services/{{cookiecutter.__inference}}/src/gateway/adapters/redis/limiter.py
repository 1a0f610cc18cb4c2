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
from .connection import PREFIX, Client

_SECOND = 1_000_000  # Microseconds: as integers, times are exact in Lua, too.
DELAY = 0.05
"""Seconds after which a correction is sent, if no admission of the team has taken it along."""

_log = structlog.get_logger("limiter")


class RedisLimiter:
    """Keeps one key per team, which expires by itself; limiter.lua tells what is in it.

    A round trip costs more of our CPU than all else that a request does with Redis. So a request
    costs one at most, which it shares with others: what is to be corrected after it goes with the
    next admission.
    """

    def __init__(self, client: Client, clock: ports.Clock) -> None:
        text = resources.files(__package__).joinpath("limiter.lua").read_text(encoding="utf-8")
        self._client, self._clock = client, clock
        self._script = client.register_script(text)
        self._due: dict[UUID, Counter[int]] = {}
        """Tokens to correct, of each team in each second."""
        self._timer: asyncio.TimerHandle | None = None
        self._background = Background()

    async def admit(self, team: UUID, limits: domain.Limits, tokens: int) -> ports.Admission:
        now = round(self._clock.now().timestamp() * _SECOND)
        answer = await self._run(team, now, limits.requests, limits.tokens, tokens)
        refused, version, requests_left, tokens_left, *times = answer
        seconds = (time / _SECOND for time in times)
        return ports.Admission(refused, version, requests_left, tokens_left, *seconds)

    def settle(self, team: UUID, at: float, tokens: int) -> None:
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
        command = ("EVALSHA", self._script.sha, len(keys), *keys, *request, *corrections)
        try:
            return await self._client.execute_together(*command)
        except NoScriptError:
            # A server that was started anew.
            await self._client.execute_together("SCRIPT LOAD", self._script.script)
            return await self._client.execute_together(*command)

    def _flush_soon(self) -> None:
        self._timer = None
        self._background.start(self.flush())
