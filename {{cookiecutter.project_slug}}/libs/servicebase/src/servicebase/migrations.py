"""How Alembic reaches a service's database: what its migrations/env.py does.

- `alembic upgrade head`, in the service's folder: the one in the settings, over asyncpg
- `alembic upgrade head --sql`: none, the statements are printed
- from Python: the SQLAlchemy connection in `config.attributes["connection"]`, in its transaction
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from alembic import context
from sqlalchemy import Connection, MetaData, pool, text
from sqlalchemy.ext.asyncio import create_async_engine

from . import logs, postgres
from .settings import DatabaseSettings, load

# Any number that is no other program's, as long as it is the same in each deployment.
LOCK = 7_262_318_501
"""The advisory lock of the database that whoever migrates it has."""
CONNECT = 60.0
"""Seconds to wait for a connection; a database may just be starting."""
PAUSE = 0.1
"""Seconds between two attempts to get it."""


def run(metadata: MetaData, prefix: str) -> None:
    """Run what Alembic was asked for.

    Args:
        metadata: that of the service's models.
        prefix: what the names of its settings begin with.
    """
    if context.is_offline_mode():
        context.configure(dialect_name="postgresql", literal_binds=True)
        with context.begin_transaction():
            context.run_migrations()
    elif given := context.config.attributes.get("connection"):
        _migrate(given, metadata)
    else:
        asyncio.run(_connect_and_migrate(metadata, prefix))


async def _connect_and_migrate(metadata: MetaData, prefix: str) -> None:
    logs.configure("info")
    url = load(DatabaseSettings, prefix).database_url.get_secret_value()
    engine = create_async_engine(
        postgres.address(url),
        poolclass=pool.NullPool,
        connect_args=postgres.arguments(url, name="alembic", timeout=CONNECT),
    )
    async with engine.connect() as connection:
        await connection.run_sync(_migrate, metadata)
    await engine.dispose()


def _migrate(connection: Connection, metadata: MetaData) -> None:
    context.configure(connection=connection, target_metadata=metadata, compare_server_default=True)
    # Of several replicas that start at once, one migrates and the others wait for it.
    with _alone(connection), context.begin_transaction():
        context.run_migrations()


@contextmanager
def _alone(connection: Connection) -> Iterator[None]:
    """Hold the lock of a database, also while a migration commits what it has done so far.

    It belongs to the session, but for a connection that is in a transaction: to that.
    """
    inside = connection.in_transaction()
    lock = f"SELECT pg_try_advisory{'_xact' if inside else ''}_lock({LOCK})"
    while not connection.scalar(text(lock)):
        connection.execute(text(f"SELECT pg_sleep({PAUSE})"))
        # CREATE INDEX CONCURRENTLY waits for the end of whatever transaction has a snapshot.
        if not inside:
            connection.rollback()
    if inside:
        yield
        return
    connection.commit()
    try:
        yield
    finally:
        connection.rollback()
        connection.execute(text(f"SELECT pg_advisory_unlock({LOCK})"))
        connection.commit()
