"""The tests of a service's migrations: they lead to the models, and back.

    from servicebase.testing.migrations import Migrations

    class TestMigrations(Migrations):
        metadata = models.Base.metadata
        prefix = PREFIX
        pyproject = Path(__file__).parents[2] / "pyproject.toml"

What the tables hold is for `stratakit.testing.schema`.
"""

import asyncio
import io
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine


class Migrations:
    """Tests of the migrations that lead to some models."""

    metadata: sa.MetaData
    prefix: str
    """What the names of the service's settings begin with."""
    pyproject: Path
    """The file with the service's [tool.alembic]."""

    @pytest.fixture
    async def connection(self, engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
        """A connection to a migrated database, in a transaction that is rolled back."""
        # PostgreSQL undoes DDL as well.
        async with engine.connect() as connection, connection.begin() as transaction:
            yield connection
            await transaction.rollback()

    def test_they_have_one_head(self) -> None:
        assert len(ScriptDirectory.from_config(Config(toml_file=self.pyproject)).get_heads()) == 1

    def test_they_can_be_printed_for_someone_else_to_run(self) -> None:
        printed = io.StringIO()
        command.upgrade(Config(toml_file=self.pyproject, output_buffer=printed), "head", sql=True)
        for table in self.metadata.tables:
            assert f"CREATE TABLE {table} " in printed.getvalue()
        assert "COMMIT" in printed.getvalue()

    async def test_they_reach_the_database_of_the_settings_alone(
        self, postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv(f"{self.prefix}DATABASE_URL", postgres_url)
        # It raises if there is anything left to migrate. In a thread there is no event loop yet.
        await asyncio.to_thread(command.check, Config(toml_file=self.pyproject))

    async def test_they_lead_to_the_models(self, connection: AsyncConnection) -> None:
        assert await connection.run_sync(self._differences) == []

    async def test_they_go_down_to_nothing_and_up_again(self, connection: AsyncConnection) -> None:
        await connection.run_sync(lambda given: command.downgrade(self._config(given), "base"))
        assert await connection.run_sync(self._tables) == set()
        await connection.run_sync(lambda given: command.upgrade(self._config(given), "head"))
        assert await connection.run_sync(self._tables) == self.metadata.tables.keys()
        assert await connection.run_sync(self._differences) == []

    def _config(self, connection: sa.Connection) -> Config:
        return Config(toml_file=self.pyproject, attributes={"connection": connection})

    def _differences(self, connection: sa.Connection) -> list[object]:
        options = {"compare_server_default": True}
        context = MigrationContext.configure(connection, opts=options)
        return list(compare_metadata(context, self.metadata))

    def _tables(self, connection: sa.Connection) -> set[str]:
        return set(sa.inspect(connection).get_table_names()) - {"alembic_version"}
