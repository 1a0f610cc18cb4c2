"""Alembic environment of every service, called by its migrations/env.py.

- `alembic upgrade head`, in the service's folder: the database in the settings, over asyncpg
- `alembic upgrade head --sql`: no database; the statements are printed
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

LOCK = 7_262_318_501
"""Advisory lock held while migrating: unique to it, and the same in every deployment."""
CONNECT = 60.0
"""Seconds to wait for a connection; the database may still be starting."""
PAUSE = 0.1
"""Seconds between attempts to get the lock."""


def run(metadata: MetaData, prefix: str) -> None:
    """Run the Alembic command at hand.

    Args:
        metadata: metadata of the service's models.
        prefix: prefix of its settings' names.
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
    # If several replicas start at once, one migrates and the others wait.
    with _alone(connection), context.begin_transaction():
        context.run_migrations()


@contextmanager
def _alone(connection: Connection) -> Iterator[None]:
    """Hold the lock of a database, even while a migration commits its progress.

    It belongs to the session, or to the transaction if the connection is in one.
    """
    inside = connection.in_transaction()
    lock = f"SELECT pg_try_advisory{'_xact' if inside else ''}_lock({LOCK})"
    while not connection.scalar(text(lock)):
        connection.execute(text(f"SELECT pg_sleep({PAUSE})"))
        # CREATE INDEX CONCURRENTLY waits for the end of all transactions that have a snapshot.
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
