"""The clock of the machine."""

import asyncio
from datetime import UTC, datetime


class SystemClock:
    """The time as it is."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)  # The port's own promise; tests turn a MemoryClock instead.
