"""Following a config store for the length of a block, and who else follows the one on Redis."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from stratakit.testing import eventually

from gateway.domain import Config, PolicyUpdate
from gateway.ports import ConfigStore

if TYPE_CHECKING:
    from gateway.adapters.redis.connection import Client


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


async def withdraw(client: "Client") -> None:
    """Delete what was published, and tell a gateway that runs for other tests.

    It would keep the last config for up to half a minute, since nobody is told of a FLUSHDB.
    """
    from gateway.adapters.redis.config import CONFIG, POLICY, RedisConfigStore

    await client.delete(CONFIG, POLICY)
    await client.publish(RedisConfigStore(client)._channel, "config")  # noqa: SLF001 - its own
