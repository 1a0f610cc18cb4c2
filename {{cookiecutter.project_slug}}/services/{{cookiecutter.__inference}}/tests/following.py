"""Following announcements for the length of a block."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from stratakit.testing import eventually

from gateway.ports import Announcements


@asynccontextmanager
async def following(announcements: Announcements) -> AsyncIterator[list[str]]:
    """Yield a list to which each version is added that is another, once it has the first."""
    seen: list[str] = []

    async def follow() -> None:
        async for version in announcements.versions():
            if seen[-1:] != [version]:
                seen.append(version)

    task = asyncio.create_task(follow())
    try:
        await eventually(lambda: seen)
        yield seen
    finally:
        task.cancel()
        await asyncio.wait([task])
