"""The migrations: they lead to the models, and back. What the tables hold is in test_schema.

Each test works in one transaction, which is rolled back: PostgreSQL undoes DDL as well.
"""

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

from {{ cookiecutter.__package }} import models

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"
METADATA = models.Base.metadata
TABLE = models.{{ cookiecutter.__class }}Row.__tablename__


@pytest.fixture
async def connection(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A connection to a migrated database, in a transaction that is rolled back."""
    async with engine.connect() as connection, connection.begin() as transaction:
        yield connection
        await transaction.rollback()


def upgrade(connection: sa.Connection) -> None:
    command.upgrade(Config(toml_file=PYPROJECT, attributes={"connection": connection}), "head")


def downgrade(connection: sa.Connection) -> None:
    command.downgrade(Config(toml_file=PYPROJECT, attributes={"connection": connection}), "base")


def tables(connection: sa.Connection) -> set[str]:
    return set(sa.inspect(connection).get_table_names()) - {"alembic_version"}


def differences(connection: sa.Connection) -> list[object]:
    options = {"compare_server_default": True}
    context = MigrationContext.configure(connection, opts=options)
    return list(compare_metadata(context, METADATA))


def test_the_migrations_have_one_head() -> None:
    assert len(ScriptDirectory.from_config(Config(toml_file=PYPROJECT)).get_heads()) == 1


def test_the_migrations_can_be_printed_for_someone_else_to_run() -> None:
    printed = io.StringIO()
    command.upgrade(Config(toml_file=PYPROJECT, output_buffer=printed), "head", sql=True)
    assert f"CREATE TABLE {TABLE}" in printed.getvalue()
    assert "COMMIT" in printed.getvalue()


async def test_the_migrations_lead_to_the_models(connection: AsyncConnection) -> None:
    assert await connection.run_sync(differences) == []


async def test_the_migrations_go_down_to_nothing_and_up_again(connection: AsyncConnection) -> None:
    await connection.run_sync(downgrade)
    assert await connection.run_sync(tables) == set()
    await connection.run_sync(upgrade)
    assert await connection.run_sync(tables) == METADATA.tables.keys()
    assert await connection.run_sync(differences) == []
