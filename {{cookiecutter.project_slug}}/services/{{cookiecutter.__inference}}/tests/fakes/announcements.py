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
        self._down = False
        self._subscribers: set[asyncio.Queue[str]] = set()

    @property
    def down(self) -> bool:
        """Set it, and every call fails as it does when the server is gone."""
        return self._down

    @down.setter
    def down(self, down: bool) -> None:
        back, self._down = self._down and not down, down
        if back:
            self._tell()

    async def announce(self) -> None:
        """Tell everybody, by a version that was never there before."""
        await self.ping()
        self.count += 1
        self.version = str(self.count)
        self._tell()

    async def versions(self) -> AsyncGenerator[str]:
        """Yield the version whenever it may be another, without end."""
        mine = asyncio.Queue[str]()
        self._subscribers.add(mine)
        try:
            if not self._down:
                mine.put_nowait(self.version)
            while True:
                yield await mine.get()
        finally:
            self._subscribers.remove(mine)

    async def ping(self) -> None:
        """Return unless `down` is set."""
        if self._down:
            raise errors.UnavailableError("memory")

    def _tell(self) -> None:
        for each in self._subscribers:
            each.put_nowait(self.version)
