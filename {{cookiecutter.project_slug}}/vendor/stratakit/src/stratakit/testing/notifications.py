"""Listener for NOTIFY in tests."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine


@asynccontextmanager
async def listening(engine: AsyncEngine, channel: str) -> AsyncIterator[list[str]]:
    """Yield a list that receives the payloads notified on a channel from now on, in order.

        async with listening(postgres_engine, "orders") as heard:
            await repository.add(order)
            await eventually(lambda: heard == [str(order.id)])

    They arrive after the notifying transaction commits, so wait for them.

    Args:
        engine: engine of the database, with asyncpg.
        channel: its name, spelled as in NOTIFY.
    """
    heard: list[str] = []

    def hear(_: Any, __: int, ___: str, payload: str) -> None:
        heard.append(payload)

    async with engine.connect() as connection:
        # Inside a transaction, notifications would be delivered only at its end.
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        own: Any = (await connection.get_raw_connection()).driver_connection
        await own.add_listener(channel, hear)
        try:
            yield heard
        finally:
            await own.remove_listener(channel, hear)
