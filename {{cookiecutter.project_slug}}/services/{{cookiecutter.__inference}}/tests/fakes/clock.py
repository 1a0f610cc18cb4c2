"""A clock that a test turns."""

import asyncio
from datetime import UTC, datetime, timedelta

START = datetime(2026, 1, 1, tzinfo=UTC)


class MemoryClock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self._now = START
        self._turned = asyncio.Event()
        self._due: list[datetime] = []
        """When each of those who sleep wants to be woken."""

    def now(self) -> datetime:
        return self._now

    async def sleep(self, seconds: float) -> None:
        due = self._now + timedelta(seconds=seconds)
        self._due.append(due)
        try:
            await asyncio.sleep(0)
            while self._now < due:
                await self._turned.wait()
        finally:
            self._due.remove(due)

    def advance(self, seconds: float) -> None:
        """Let time pass, all at once, and wake the sleepers."""
        self._now += timedelta(seconds=seconds)
        self._turned.set()
        self._turned = asyncio.Event()

    @property
    def sleeping(self) -> int:
        """Return how many wait for time to pass."""
        return sum(due > self._now for due in self._due)
