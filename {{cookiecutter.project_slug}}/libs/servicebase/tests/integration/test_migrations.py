"""How Alembic reaches a database: by the settings, on paper, and by a connection that is given."""

import asyncio
import io
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from stratakit.testing import eventually

ENV = """
from sqlalchemy import MetaData

from servicebase import migrations

migrations.run(MetaData(), "KIT_")
"""
FIRST = """
import sqlalchemy as sa
from alembic import op

revision, down_revision = "1", None


def upgrade():
    op.create_table("migrated", sa.Column("id", sa.Integer))


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
HELD = """
    SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = database
    WHERE locktype = 'advisory' AND datname = current_database()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The migrations of a service."""
    (tmp_path / "versions").mkdir()
    (tmp_path / "env.py").write_text(ENV, encoding="utf-8")
    (tmp_path / "versions" / "1.py").write_text(FIRST, encoding="utf-8")
    return tmp_path


def config(folder: Path, **options: Any) -> Config:
    config = Config(**options)
    config.set_main_option("script_location", str(folder))
    return config


def tables(connection: sa.Connection) -> set[str]:
    return set(sa.inspect(connection).get_table_names()) & {"migrated"}


async def test_the_database_of_the_settings_is_migrated_up_and_down(
    folder: Path, postgres_url: str, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("KIT_DATABASE_URL", postgres_url)
    seen = []
    for act, to in ((command.upgrade, "head"), (command.downgrade, "base")):
        # In a thread, where there is no event loop yet.
        await asyncio.to_thread(act, config(folder), to)
        async with engine.connect() as connection:
            seen.append(await connection.run_sync(tables))
    async with engine.begin() as connection:
        await connection.execute(sa.text("DROP TABLE alembic_version"))
    assert seen == [{"migrated"}, set()]


def test_the_statements_can_be_printed_for_someone_else_to_run(folder: Path) -> None:
    printed = io.StringIO()
    command.upgrade(config(folder, output_buffer=printed), "head", sql=True)
    assert "CREATE TABLE migrated" in printed.getvalue()
    assert "COMMIT" in printed.getvalue()


async def test_of_two_that_migrate_at_once_one_waits_for_the_other(
    folder: Path, engine: AsyncEngine
) -> None:
    def upgrade(connection: sa.Connection) -> set[str]:
        command.upgrade(config(folder, attributes={"connection": connection}), "head")
        return tables(connection)

    async def second() -> set[str]:
        async with engine.connect() as connection, connection.begin() as transaction:
            found = await connection.run_sync(upgrade)
            await transaction.rollback()
            return found

    async with engine.connect() as connection, connection.begin() as transaction:
        assert await connection.run_sync(upgrade) == {"migrated"}
        other = asyncio.create_task(second())
        await eventually(lambda: pausing(engine))
        await transaction.rollback()
    assert await other == {"migrated"}


async def test_the_lock_is_let_go_when_a_migration_fails(folder: Path, clone_url: str) -> None:
    (folder / "versions" / "2.py").write_text(FAILING, encoding="utf-8")

    def upgrade(connection: sa.Connection) -> None:
        command.upgrade(config(folder, attributes={"connection": connection}), "head")

    engine = create_async_engine(clone_url, poolclass=NullPool)
    async with engine.connect() as connection:
        with pytest.raises(sa.exc.ProgrammingError):
            await connection.run_sync(upgrade)
        assert not await connection.scalar(sa.text(HELD))
    await engine.dispose()


async def pausing(engine: AsyncEngine) -> bool:
    """Return whether somebody pauses, before asking for the lock again."""
    query = "SELECT FROM pg_stat_activity WHERE datname = current_database()"
    async with engine.connect() as connection:
        found = await connection.execute(sa.text(f"{query} AND wait_event = 'PgSleep'"))
        return found.rowcount > 0
