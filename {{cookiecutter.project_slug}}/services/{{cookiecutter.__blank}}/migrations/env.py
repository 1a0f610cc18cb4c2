"""How Alembic reaches the database.

- `alembic upgrade head`, in this folder's parent: the one in the settings, over asyncpg
- `alembic upgrade head --sql`: none, the statements are printed
- from Python: the SQLAlchemy connection in `config.attributes["connection"]`, in its transaction
"""

import asyncio

from alembic import context
from sqlalchemy import Connection, pool, text
from sqlalchemy.ext.asyncio import create_async_engine

from {{ cookiecutter.__package }} import logs, models, settings
from {{ cookiecutter.__package }}.adapters import postgres

# Any number that is no other program's, as long as it is the same in each deployment.
LOCK = 7_262_318_501


def migrate(connection: Connection) -> None:
    """Run what was asked for."""
    context.configure(
        connection=connection,
        target_metadata=models.Base.metadata,
        compare_server_default=True,
    )
    with context.begin_transaction():
        # Of several replicas that start at once, one migrates and the others wait for it.
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
        context.run_migrations()


async def connect_and_migrate() -> None:
    """Run what was asked for on the database of the settings."""
    logs.configure("info")
    url = settings.load(settings.DatabaseSettings).database_url
    engine = create_async_engine(postgres.address(url.get_secret_value()), poolclass=pool.NullPool)
    async with engine.connect() as connection:
        await connection.run_sync(migrate)
    await engine.dispose()


if context.is_offline_mode():
    context.configure(dialect_name="postgresql", literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()
elif given := context.config.attributes.get("connection"):
    migrate(given)
else:
    asyncio.run(connect_and_migrate())
