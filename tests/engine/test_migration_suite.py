"""The derived tests of migrations pass on those of a service; each fault fails just its own."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from stratakit import project
from stratakit.schema_tests.migrations import PROOFS, Migrated, Proof
from stratakit.testing import migrations
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

METADATA = sa.MetaData()
FORGOTTEN = sa.Table("forgotten", METADATA, sa.Column("id", sa.Integer))
PRINTED, REACH, DOWN_AND_UP = PROOFS

test_the_migrations_of_a_service = migrations.suite("gateway")


@pytest.fixture
async def altered(
    clone_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[AsyncEngine]:
    """A migrated database that a test may alter, which the settings lead to."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(f"{project.service('gateway').prefix}DATABASE_URL", clone_url)
    engine = create_async_engine(clone_url)
    yield engine
    await engine.dispose()


async def test_a_table_that_no_migration_makes_is_named(altered: AsyncEngine) -> None:
    service = replace(project.service("gateway"), metadata=f"{__name__}:METADATA")
    with pytest.raises(AssertionError, match=r"does not make \{'forgotten'\}"):
        await PRINTED(Migrated(service, altered))


@pytest.mark.parametrize(
    ("proof", "statement", "says"),
    [
        (REACH, "ALTER TABLE items DROP quantity", "New upgrade operations detected"),
        (DOWN_AND_UP, "CREATE TABLE stray ()", r"alembic downgrade base leaves \['public.stray'\]"),
        (
            DOWN_AND_UP,
            "ALTER TABLE items DROP CONSTRAINT ck_items_quantity_not_negative",
            "unexpected table constraint ck_items_quantity_not_negative",
        ),
    ],
)
async def test_a_database_that_is_not_as_migrated_is_told_apart(
    altered: AsyncEngine, proof: Proof, statement: str, says: str
) -> None:
    async with altered.begin() as connection:
        await connection.execute(sa.text(statement))
    with pytest.raises(AssertionError, match=says):
        await proof(Migrated(project.service("gateway"), altered))
