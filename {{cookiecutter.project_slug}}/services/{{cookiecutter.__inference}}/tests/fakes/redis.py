"""The limiter in memory."""

from collections import Counter
from typing import Literal
from uuid import UUID

from gateway import domain, errors, ports

SECOND = 1_000_000
"""Microseconds, since sums of integers are exact."""
WINDOW = 60 * SECOND


class MemoryLimiter:
    """Limiter that keeps the admitted requests and tokens of the last sixty seconds by time."""

    def __init__(self, clock: ports.Clock) -> None:
        self.down = False
        """Whether every call fails as if the server were down."""
        self.announced = 0
        """Number of announcements so far."""
        self._clock = clock
        self._windows: dict[UUID, tuple[Counter[int], Counter[int]]] = {}

    async def admit(
        self, team: UUID, limits: domain.Limits, tokens: int, version: str | None = None
    ) -> ports.Admission:
        now, newest = round(self._clock.now().timestamp() * SECOND), await self.version()
        if version not in {None, newest}:
            return ports.Admission("version", newest, 0, 0, 0, 0, 0, now / SECOND)
        windows = self._windows.setdefault(team, (Counter(), Counter()))
        for window in windows:
            for at in [at for at in window if at + WINDOW <= now]:
                del window[at]
        free_at: dict[Literal["requests", "tokens"], int] = {
            "requests": _free_at(windows[0], 1, limits.requests, now),
            "tokens": _free_at(windows[1], tokens, limits.tokens, now),
        }
        refused = next((what for what, at in free_at.items() if at > now), None)
        if not refused:
            windows[0][now] += 1
            windows[1][now] += tokens
        ends = [max((at for at, n in w.items() if n), default=now - WINDOW) for w in windows]
        return ports.Admission(
            refused=refused,
            version=newest,
            requests_left=max(0, limits.requests - windows[0].total()),
            tokens_left=max(0, limits.tokens - windows[1].total()),
            requests_reset=(ends[0] + WINDOW - now) / SECOND,
            tokens_reset=(ends[1] + WINDOW - now) / SECOND,
            retry_after=(max(free_at.values()) - now) / SECOND,
            at=now / SECOND,
        )

    def settle(self, team: UUID, at: float, tokens: int) -> None:
        if self.down:
            return
        counted = self._windows.get(team, ({}, Counter()))[1]
        when = round(at * SECOND)
        if when in counted:
            counted[when] = max(0, counted[when] + tokens)

    async def announce(self) -> str:
        await self.version()
        self.announced += 1
        return await self.version()

    async def version(self) -> str:
        if self.down:
            raise errors.UnavailableError("memory")
        return str(self.announced or "")


def _free_at(used: Counter[int], needed: int, limit: int, now: int) -> int:
    """Return the time at which `needed` more fit, or the end of a whole window if they never do."""
    if needed > limit:
        return now + WINDOW
    excess = used.total() + needed - limit
    free_at = now
    for at, amount in used.items():
        if excess > 0:
            excess -= amount
            free_at = at + WINDOW
    return free_at
