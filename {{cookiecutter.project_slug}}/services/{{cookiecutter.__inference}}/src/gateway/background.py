"""Work that has to be done even if the request that it is for is gone."""

import asyncio
from collections.abc import Coroutine


class Background:
    """Tasks that are kept until they are done; the event loop alone would let them be collected."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Start some work, and return its task."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def run(self, work: Coroutine[None, None, None]) -> None:
        """Do some work and wait for it; if the caller is cancelled, it is done all the same."""
        await asyncio.shield(self.start(work))

    async def drain(self) -> None:
        """Wait until all is done."""
        while self._tasks:
            await asyncio.wait(self._tasks)
