"""Limiter port on Redis."""

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
from .announcements import VERSION
from .connection import PREFIX, Client

_SECOND = 1_000_000  # In microseconds, since integers are exact in Lua, too.
ANY = "*"
"""Argument of limiter.lua for a request that does not depend on the version."""
DELAY = 0.05
"""Seconds after which a correction is sent, unless an admission of the team has included it."""

_log = structlog.get_logger("limiter")


class RedisLimiter:
    """Sliding window of each team in a key that expires; limiter.lua documents its contents.

    A round trip costs the gateway more CPU than everything else that a request does with Redis. So
    a request takes at most one, which it shares with others; the correction after it is sent with
    the next admission.
    """

    def __init__(self, client: Client, clock: ports.Clock) -> None:
        text = resources.files(__package__).joinpath("limiter.lua").read_text(encoding="utf-8")
        self._client, self._clock = client, clock
        self._script = client.register_script(text)
        self._due: dict[UUID, Counter[int]] = {}
        """Pending corrections of tokens, by team and second."""
        self._timer: asyncio.TimerHandle | None = None
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
        if self._timer is None:
            # An empty context: log lines of a flush must not have the id of one request.
            self._timer = asyncio.get_running_loop().call_later(
                DELAY, self._flush_soon, context=contextvars.Context()
            )

    async def flush(self) -> None:
        """Send all pending corrections. If that fails they are lost, rather than sent twice."""
        try:
            for team in list(self._due):
                await self._run(team, "", "", "", "", ANY)
        except errors.UnavailableError as error:
            # The counts leave the window in a minute anyway.
            _log.warning("tokens not settled", cause=repr(error.__cause__))

    async def _run(self, team: UUID, *request: int | str) -> Any:
        """Run the script with the pending corrections of a team."""
        corrections = chain.from_iterable(self._due.pop(team, Counter()).items())
        keys = (f"{PREFIX}window:{team}", VERSION)
        command = ("EVALSHA", self._script.sha, len(keys), *keys, *request, *corrections)
        try:
            return await self._client.execute_together(*command)
        except NoScriptError:
            # The server was restarted, and has lost the script.
            await self._client.execute_together("SCRIPT LOAD", self._script.script)
            return await self._client.execute_together(*command)

    def _flush_soon(self) -> None:
        self._timer = None
        self._flushing = asyncio.create_task(self.flush())
