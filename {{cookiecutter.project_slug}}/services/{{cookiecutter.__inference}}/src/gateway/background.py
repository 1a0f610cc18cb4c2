"""Background tasks that outlive the request that started them."""

import asyncio
from collections.abc import Coroutine


class Background:
    """Set of running tasks: the event loop alone would let them be garbage collected."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Start a coroutine as a task, and return the task."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def run(self, work: Coroutine[None, None, None]) -> None:
        """Run a coroutine and wait for it; if the caller is cancelled, it still completes."""
        await asyncio.shield(self.start(work))

    async def drain(self) -> None:
        """Wait until all tasks are done."""
        while self._tasks:
            await asyncio.wait(self._tasks)
