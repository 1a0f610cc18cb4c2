"""Transactions that meet: who waits for a lock, and how to end somebody's connection."""

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine


async def waiting(engine: AsyncEngine) -> int | None:
    """Return the process of somebody who waits for a lock in the engine's database, or None."""
    names = ("pid", "datname", "wait_event_type")
    activity = sa.table("pg_stat_activity", *(sa.column(name) for name in names)).c
    mine = activity.datname == sa.func.current_database()
    query = sa.select(activity.pid).where(mine, activity.wait_event_type == "Lock")
    async with engine.connect() as connection:
        pid: int | None = await connection.scalar(query)
        return pid


def terminate(pid: int | None) -> sa.Select[tuple[bool]]:
    """Return the statement that ends a process of PostgreSQL's, and with it one connection.

    It is that of a test alone: whoever shares it finds out with the next statement.
    """
    return sa.select(sa.func.pg_terminate_backend(pid))
