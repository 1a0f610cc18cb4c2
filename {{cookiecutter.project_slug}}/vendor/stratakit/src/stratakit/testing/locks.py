"""Helpers for tests of concurrent transactions: lock waiters, and terminating a connection."""

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine


async def waiting(engine: AsyncEngine) -> int | None:
    """Return the pid of a backend that waits for a lock in the engine's database, or None."""
    return next(iter(await blocked(engine)), None)


async def blocked(engine: AsyncEngine, count: int = 1) -> list[int]:
    """Return the pids that wait for a lock in the engine's database, or [] if fewer than `count`.

        await eventually(lambda: blocked(postgres_engine, 3))

    Args:
        engine: engine of the database.
        count: minimum number of waiting backends.
    """
    names = ("pid", "datname", "wait_event_type")
    activity = sa.table("pg_stat_activity", *(sa.column(name) for name in names)).c
    mine = activity.datname == sa.func.current_database()
    query = sa.select(activity.pid).where(mine, activity.wait_event_type == "Lock")
    async with engine.connect() as connection:
        found = [*await connection.scalars(query.order_by(activity.pid))]
    return found if len(found) >= count else []


def terminate(pid: int | None) -> sa.Select[tuple[bool]]:
    """Return the statement that terminates a PostgreSQL backend, and with it one connection.

    Use it only on a connection of the test's own: other users of it fail at their next statement.
    """
    return sa.select(sa.func.pg_terminate_backend(pid))
