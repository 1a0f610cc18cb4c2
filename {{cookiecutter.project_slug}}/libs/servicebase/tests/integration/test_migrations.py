"""Migrations of the database in the settings, and over a given connection.

Offline mode, which prints the statements, is tested with each service's own migrations.
"""

import asyncio
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from servicebase.migrations import LOCK
from stratakit.testing import eventually

ENV = """
from sqlalchemy import MetaData

from servicebase import migrations

migrations.run(MetaData(), "KIT_")
"""
FIRST = """
from alembic import op

revision, down_revision = "1", None


def upgrade():
    op.execute("CREATE TABLE migrated AS SELECT current_setting('application_name') AS by")


def downgrade():
    op.drop_table("migrated")
"""
FAILING = """
from alembic import op

revision, down_revision = "2", "1"


def upgrade():
    with op.get_context().autocommit_block():
        op.drop_table("nothing")
"""
PAUSING = """
    SELECT FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event = 'PgSleep'
"""


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """The Alembic configuration of a service with one migration."""
    (tmp_path / "versions").mkdir()
    (tmp_path / "env.py").write_text(ENV, encoding="utf-8")
    (tmp_path / "versions" / "1.py").write_text(FIRST, encoding="utf-8")
    config = Config()
    config.set_main_option("script_location", str(tmp_path))
    return config


@pytest.fixture
def database(clone_url: str) -> AsyncEngine:
    """A database of the test's own."""
    return create_async_engine(clone_url, poolclass=sa.NullPool)


async def finds(database: AsyncEngine, query: str) -> bool:
    async with database.connect() as connection:
        return (await connection.execute(sa.text(query))).rowcount > 0


def upgrade(connection: sa.Connection, config: Config) -> bool:
    """Upgrade over a connection, and return whether the table exists then."""
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    return sa.inspect(connection).has_table("migrated")


async def test_the_database_of_the_settings_is_migrated_up_and_down(
    config: Config, database: AsyncEngine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    url = database.url.update_query_dict({"application_name": "theirs"})
    monkeypatch.setenv("KIT_DATABASE_URL", url.render_as_string(hide_password=False))
    # In a thread, where there is no event loop yet.
    await asyncio.to_thread(command.upgrade, config, "head")
    assert await finds(database, "SELECT FROM migrated WHERE by = 'theirs'")
    await asyncio.to_thread(command.downgrade, config, "base")
    assert not await finds(database, "SELECT FROM pg_tables WHERE tablename = 'migrated'")


async def test_one_of_two_concurrent_migrations_waits_for_the_other(
    config: Config, database: AsyncEngine
) -> None:
    async def second() -> bool:
        async with database.begin() as connection:
            return await connection.run_sync(upgrade, config)

    async with database.connect() as connection, connection.begin() as transaction:
        assert await connection.run_sync(upgrade, config)
        other = asyncio.create_task(second())
        await eventually(lambda: finds(database, PAUSING))
        await transaction.rollback()
    assert await other


async def test_the_lock_is_released_when_a_migration_fails(
    config: Config, database: AsyncEngine, tmp_path: Path
) -> None:
    (tmp_path / "versions" / "2.py").write_text(FAILING, encoding="utf-8")
    async with database.connect() as connection:
        with pytest.raises(sa.exc.ProgrammingError):
            await connection.run_sync(upgrade, config)
        assert await finds(database, f"SELECT WHERE pg_try_advisory_lock({LOCK})")
