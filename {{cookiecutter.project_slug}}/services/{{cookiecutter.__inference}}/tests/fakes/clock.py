"""A clock that a test turns."""

import asyncio
from datetime import UTC, datetime, timedelta

START = datetime(2026, 1, 1, tzinfo=UTC)


class MemoryClock:
    """Time that passes when it is told to."""

    def __init__(self, start: datetime = START) -> None:
        self._now = start
        self._sleepers: list[tuple[datetime, asyncio.Event]] = []

    def now(self) -> datetime:
        return self._now

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        sleeper = (self._now + timedelta(seconds=seconds), asyncio.Event())
        self._sleepers.append(sleeper)
        try:
            await sleeper[1].wait()
        finally:
            self._sleepers.remove(sleeper)

    def advance(self, seconds: float) -> None:
        """Let time pass, all at once, and wake the sleepers whose time has come, in their order."""
        self._now += timedelta(seconds=seconds)
        for due, woken in sorted(self._sleepers, key=lambda sleeper: sleeper[0]):
            if due <= self._now:
                woken.set()

    @property
    def sleeping(self) -> int:
        """Return how many wait for time to pass."""
        return sum(not woken.is_set() for _, woken in self._sleepers)
