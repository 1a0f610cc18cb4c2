"""The system clock."""

import asyncio
from datetime import UTC, datetime


class SystemClock:
    """System time."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)  # The port's implementation; tests advance a MemoryClock.
