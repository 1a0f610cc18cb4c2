"""A clock that a test turns."""

import asyncio
import heapq
import itertools
from datetime import UTC, datetime, timedelta

START = datetime(2026, 1, 1, tzinfo=UTC)


class MemoryClock:
    """Time that passes when it is told to."""

    def __init__(self, start: datetime = START) -> None:
        self._now = start
        self._order = itertools.count()
        self._sleepers: list[tuple[datetime, int, asyncio.Future[None]]] = []

    def now(self) -> datetime:
        """Return the time, with the zone UTC."""
        return self._now

    async def sleep(self, seconds: float) -> None:
        """Return after so many seconds, which others let pass."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        due = self._now + timedelta(seconds=seconds)
        # Of two that are due at once the one goes first that came first.
        heapq.heappush(self._sleepers, (due, next(self._order), woken))
        await woken

    def advance(self, seconds: float) -> None:
        """Let time pass, all at once, and wake the sleepers whose time has come, in their order."""
        self._now += timedelta(seconds=seconds)
        while self._sleepers and self._sleepers[0][0] <= self._now:
            *_, woken = heapq.heappop(self._sleepers)
            # It is done if the sleeper was cancelled.
            if not woken.done():
                woken.set_result(None)

    @property
    def sleeping(self) -> int:
        """Return how many wait for time to pass."""
        return sum(not woken.done() for *_, woken in self._sleepers)
