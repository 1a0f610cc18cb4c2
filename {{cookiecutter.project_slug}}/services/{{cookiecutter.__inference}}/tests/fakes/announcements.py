"""The announcements in variables."""

import asyncio
from collections.abc import AsyncGenerator

from gateway import errors


class MemoryAnnouncements:
    """Counts them, and keeps a queue for each subscriber."""

    def __init__(self) -> None:
        self.version = ""
        self.count = 0
        """How many there were."""
        self.down = False
        """Set it, and every call fails as it does when the server is gone."""
        self._subscribers: set[asyncio.Queue[str]] = set()

    async def announce(self) -> None:
        await self.ping()
        self.count += 1
        self.version = str(self.count)
        for each in self._subscribers:
            each.put_nowait(self.version)

    async def versions(self) -> AsyncGenerator[str]:
        mine = asyncio.Queue[str]()
        mine.put_nowait(self.version)
        self._subscribers.add(mine)
        try:
            while True:
                yield await mine.get()
        finally:
            self._subscribers.remove(mine)

    async def ping(self) -> None:
        if self.down:
            raise errors.UnavailableError("memory")
