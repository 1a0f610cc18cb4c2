"""A clock that tests advance."""

import asyncio
from datetime import UTC, datetime, timedelta

START = datetime(2026, 1, 1, tzinfo=UTC)


class MemoryClock:
    """Clock whose time only passes in `advance`."""

    def __init__(self) -> None:
        self._now = START
        self._turned = asyncio.Event()

    def now(self) -> datetime:
        return self._now

    async def sleep(self, seconds: float) -> None:
        due = self._now + timedelta(seconds=seconds)
        await asyncio.sleep(0)
        while self._now < due:
            await self._turned.wait()

    def advance(self, seconds: float) -> None:
        """Advance the time in one step, and wake the sleepers that are due."""
        self._now += timedelta(seconds=seconds)
        self._turned.set()
        self._turned = asyncio.Event()
