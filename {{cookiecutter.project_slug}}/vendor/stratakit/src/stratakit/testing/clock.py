"""The clock of one database, stopped: what `now()` is there is for the test to say."""

import datetime as dt
from importlib.resources import files

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

_CLOCK = sa.table("clock", sa.column("at"), schema="strata_clock")


class Clock:
    """The time in one database, which stands still until it is set."""

    def __init__(self, engine: AsyncEngine) -> None:
        """Take the engine of the database, whose clock was stopped."""
        self._engine = engine

    async def set(self, at: dt.datetime) -> None:
        """Set the time, for transactions that begin after it."""
        async with self._engine.begin() as connection:
            await connection.execute(sa.update(_CLOCK).values(at=at))


async def stop_clock(engine: AsyncEngine, at: dt.datetime) -> Clock:
    """Stop the clock of a database at a time; return what sets it.

        engine = create_async_engine(clone_url)
        clock = await stop_clock(engine, NOON)
        ...
        await clock.set(NOON + HOUR)

    It is for a database of the test's own (`clone_url`), since it changes defaults of columns, and
    the search path of all connections that are made afterwards. From then on `now()`,
    `clock_timestamp()` and their like are that time in statements, in triggers, and in what columns
    have by default. The real time is still in CURRENT_TIMESTAMP of a statement, in
    `pg_catalog.now()`, in views and generated columns, and wherever another search path is set.

    Args:
        engine: to the database; its idle connections are closed, to have the search path.
        at: the time, with a time zone.
    """
    async with engine.begin() as connection:
        statement = files(__package__).joinpath("clock.sql").read_text(encoding="utf-8")
        await connection.exec_driver_sql(statement)
    await engine.dispose()
    clock = Clock(engine)
    await clock.set(at)
    return clock
