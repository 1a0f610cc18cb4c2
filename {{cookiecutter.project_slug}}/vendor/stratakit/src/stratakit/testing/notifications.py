"""NOTIFY as a test hears it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine


@asynccontextmanager
async def listening(engine: AsyncEngine, channel: str) -> AsyncIterator[list[str]]:
    """Yield the payloads that are notified on a channel from here on, in their order.

        async with listening(postgres_engine, "orders") as heard:
            await repository.add(order)
            await eventually(lambda: heard == [str(order.id)])

    They come when the transaction that notifies is committed, so wait for them.

    Args:
        engine: to the database, by asyncpg.
        channel: its name, as it is written in NOTIFY.
    """
    heard: list[str] = []

    def hear(_: Any, __: int, ___: str, payload: str) -> None:
        heard.append(payload)

    async with engine.connect() as connection:
        # Not in a transaction, in which nothing would be heard before its end.
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        own: Any = (await connection.get_raw_connection()).driver_connection
        await own.add_listener(channel, hear)
        try:
            yield heard
        finally:
            await own.remove_listener(channel, hear)
