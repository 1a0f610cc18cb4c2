"""The limiter in a dict."""

from collections import deque
from dataclasses import dataclass
from uuid import UUID

from gateway import domain, errors, ports

from .announcements import MemoryAnnouncements

SECOND = 1_000_000
"""Microseconds: sums of integers are exact."""
WINDOW = 60 * SECOND


@dataclass(slots=True)
class _Use:
    """What was let through at a time."""

    at: int
    requests: int = 0
    tokens: int = 0


class MemoryLimiter:
    """Remembers every request for sixty seconds."""

    def __init__(self, clock: ports.Clock, announcements: MemoryAnnouncements) -> None:
        self.down = False
        """Set it, and every call fails as it does when the server is gone."""
        self._clock = clock
        self._announcements = announcements
        self._windows: dict[UUID, deque[_Use]] = {}

    async def admit(self, team: UUID, limits: domain.Limits, tokens: int) -> ports.Admission:
        """Count one request and this many tokens, or neither."""
        await self.ping()
        now = round(self._clock.now().timestamp() * SECOND)
        window = self._windows.setdefault(team, deque())
        while window and window[0].at + WINDOW <= now:
            window.popleft()
        free_at = {
            "requests": _free_at(
                [(use.at, use.requests) for use in window], 1, limits.requests, now
            ),
            "tokens": _free_at([(u.at, u.tokens) for u in window], tokens, limits.tokens, now),
        }
        refused = next((what for what, at in free_at.items() if at > now), None)
        if not refused:
            if not window or window[-1].at != now:
                window.append(_Use(now))
            window[-1].requests += 1
            window[-1].tokens += tokens
        ends = [use.at + WINDOW for use in window]
        token_ends = [use.at + WINDOW for use in window if use.tokens]
        return ports.Admission(
            refused=refused,
            requests_left=max(0, limits.requests - sum(use.requests for use in window)),
            tokens_left=max(0, limits.tokens - sum(use.tokens for use in window)),
            requests_reset=(max(ends, default=now) - now) / SECOND,
            tokens_reset=(max(token_ends, default=now) - now) / SECOND,
            retry_after=(max(free_at.values()) - now) / SECOND,
            at=now / SECOND,
            version=self._announcements.version,
        )

    async def settle(self, team: UUID, at: float, tokens: int) -> None:
        """Correct the tokens that an admission counted."""
        await self.ping()
        counted = round(at * SECOND)
        for use in self._windows.get(team, ()):
            if use.at == counted:
                use.tokens = max(0, use.tokens + tokens)
                return

    async def ping(self) -> None:
        """Return unless `down` is set."""
        if self.down:
            raise errors.UnavailableError("memory")


def _free_at(used: list[tuple[int, int]], needed: int, limit: int, now: int) -> int:
    """Return when `needed` more fit; the whole window from now, if they never will."""
    if needed > limit:
        return now + WINDOW
    excess = sum(amount for _, amount in used) + needed - limit
    free_at = now
    for at, amount in used:
        if excess <= 0:
            break
        excess -= amount
        free_at = at + WINDOW
    return free_at
