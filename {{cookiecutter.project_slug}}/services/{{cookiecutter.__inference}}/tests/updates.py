"""Following a config store for the length of a block."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ops.testing import eventually

from gateway.domain import Config, PolicyUpdate
from gateway.ports import ConfigStore


@asynccontextmanager
async def following(config: ConfigStore) -> AsyncIterator[list[Config | PolicyUpdate]]:
    """Yield a list to which the updates of a store are added, once it has those at the start."""
    seen: list[Config | PolicyUpdate] = []

    async def follow() -> None:
        async for update in config.updates():
            seen.append(update)  # noqa: PERF401 - each is to be seen when it comes

    task = asyncio.create_task(follow())
    try:
        await eventually(lambda: any(isinstance(update, PolicyUpdate) for update in seen))
        yield seen
    finally:
        task.cancel()
        await asyncio.wait([task])
