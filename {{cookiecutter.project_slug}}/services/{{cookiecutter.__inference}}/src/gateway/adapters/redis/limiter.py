"""The limiter on Redis."""

import asyncio
import contextvars
from collections import Counter
from uuid import UUID

import structlog

from ... import domain, errors, ports
from .announcements import VERSION
from .connection import PREFIX, Client, script
from .script_batcher import ScriptBatcher

_REFUSED = (None, "requests", "tokens")
_SECOND = 1_000_000  # Microseconds: as integers, times are exact in Lua, too.
DELAY = 0.05
"""Seconds after which a correction is sent, if no admission of the team has taken it along."""

_log = structlog.get_logger("limiter")


class RedisLimiter:
    """Keeps one key per team, which expires by itself; window.lua tells what is in it.

    A request costs one round trip at most: what is to be corrected after it goes with the next
    admission, and requests that come together go together.
    """

    def __init__(self, client: Client, clock: ports.Clock) -> None:
        self._client = client
        self._clock = clock
        self._admit = ScriptBatcher(client, "window.lua", "admit.lua")
        self._settle = script(client, "window.lua", "settle.lua")
        self._due: dict[UUID, Counter[int]] = {}
        """Tokens to correct, of each team in each second."""
        self._timer: asyncio.TimerHandle | None = None
        self._flushing: set[asyncio.Task[None]] = set()

    async def admit(self, team: UUID, limits: domain.Limits, tokens: int) -> ports.Admission:
        """Count one request and this many tokens, or neither, in one round trip."""
        now = round(self._clock.now().timestamp() * _SECOND)
        (
            refused,
            requests,
            tokens_left,
            requests_reset,
            reset,
            retry,
            at,
            version,
        ) = await self._admit(
            keys=(_key(team), VERSION),
            args=(now, limits.requests, limits.tokens, tokens, *self._corrections(team)),
        )
        return ports.Admission(
            refused=_REFUSED[refused],
            requests_left=requests,
            tokens_left=tokens_left,
            requests_reset=requests_reset / _SECOND,
            tokens_reset=reset / _SECOND,
            retry_after=retry / _SECOND,
            at=at / _SECOND,
            version=version,
        )

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
                if corrections := self._corrections(team):
                    await self._settle(keys=(_key(team),), args=corrections)
        except errors.UnavailableError as error:
            # They are out of the window in a minute anyway.
            _log.warning("tokens not settled", cause=repr(error.__cause__))

    async def ping(self) -> None:
        """Return if the server answers."""
        await self._client.ping()

    def _corrections(self, team: UUID) -> list[int]:
        """Take what is due of a team, as the scripts' arguments."""
        return [number for pair in self._due.pop(team, {}).items() for number in pair]

    def _flush_soon(self) -> None:
        self._timer = None
        if self._due:
            task = asyncio.create_task(self.flush())
            # The loop keeps no more than a weak reference.
            self._flushing.add(task)
            task.add_done_callback(self._flushing.discard)


def _key(team: UUID) -> str:
    return f"{PREFIX}window:{team}"
