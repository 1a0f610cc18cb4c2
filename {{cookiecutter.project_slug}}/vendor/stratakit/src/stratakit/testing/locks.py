"""Transactions that meet: who waits for a lock, and how to end somebody's connection."""

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine


async def waiting(engine: AsyncEngine) -> int | None:
    """Return the process of somebody who waits for a lock in the engine's database, or None."""
    return next(iter(await blocked(engine)), None)


async def blocked(engine: AsyncEngine, count: int = 1) -> list[int]:
    """Return the processes that wait for a lock in the engine's database, if so many do, else none.

        await eventually(lambda: blocked(postgres_engine, 3))

    Args:
        engine: to the database.
        count: how many have to wait, at least.
    """
    names = ("pid", "datname", "wait_event_type")
    activity = sa.table("pg_stat_activity", *(sa.column(name) for name in names)).c
    mine = activity.datname == sa.func.current_database()
    query = sa.select(activity.pid).where(mine, activity.wait_event_type == "Lock")
    async with engine.connect() as connection:
        found = [*await connection.scalars(query.order_by(activity.pid))]
    return found if len(found) >= count else []


def terminate(pid: int | None) -> sa.Select[tuple[bool]]:
    """Return the statement that ends a process of PostgreSQL's, and with it one connection.

    It is that of a test alone: whoever shares it finds out with the next statement.
    """
    return sa.select(sa.func.pg_terminate_backend(pid))
