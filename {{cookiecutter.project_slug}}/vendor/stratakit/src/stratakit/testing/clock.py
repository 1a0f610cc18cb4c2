"""A stopped database clock: the test decides what `now()` returns."""

import datetime as dt
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

_CLOCK = sa.table("clock", sa.column("at"), schema="strata_clock")


class Clock:
    """Current time of one database, which stands still until the test sets it."""

    def __init__(self, engine: AsyncEngine) -> None:
        """Take the engine of the database whose clock was stopped."""
        self._engine = engine

    async def set(self, at: dt.datetime) -> None:
        """Set the time for transactions that begin afterwards."""
        async with self._engine.begin() as connection:
            await connection.execute(sa.update(_CLOCK).values(at=at))


async def stop_clock(engine: AsyncEngine, at: dt.datetime) -> Clock:
    """Stop the clock of a database at a given time; return the `Clock` that sets it.

        engine = create_async_engine(clone_url)
        clock = await stop_clock(engine, NOON)
        ...
        await clock.set(NOON + HOUR)

    Use it only on a database of the test's own (`clone_url`): it changes column defaults, and the
    search path of all new connections. From then on `now()`, `clock_timestamp()` and similar
    functions return that time in statements, triggers and column defaults. The real time remains in
    a statement's CURRENT_TIMESTAMP, in `pg_catalog.now()`, in views and generated columns, and
    wherever another search path is set.

    Args:
        engine: engine of the database; its idle connections are closed, for the new search path.
        at: the time, with a time zone.
    """
    async with engine.begin() as connection:
        statement = Path(__file__).with_name("clock.sql").read_text(encoding="utf-8")
        await connection.exec_driver_sql(statement)
    await engine.dispose()
    clock = Clock(engine)
    await clock.set(at)
    return clock
