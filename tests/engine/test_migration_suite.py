"""Derived tests of migrations, on those of a service and on faults that fail just one of them."""

import asyncio
import runpy
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from documents import Document
from gateway.models import ItemRow
from stratakit import project
from stratakit.database.migrations import configuration
from stratakit.project import Service
from stratakit.pyproject import ROOT
from stratakit.schema_tests.migrations import PROOFS, Migrated, Proof
from stratakit.testing import migrations
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

METADATA = sa.MetaData()
FORGOTTEN = sa.Table("forgotten", METADATA, sa.Column("id", sa.Integer))
PRINTED, REACH, DOWN_AND_UP, AT_ONCE = PROOFS

test_the_migrations_of_a_service = migrations.suite("gateway")


@pytest.fixture
async def altered(
    clone_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[AsyncEngine]:
    """A migrated database that a test may alter, and that the settings point to."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(f"{project.service('gateway').prefix}DATABASE_URL", clone_url)
    engine = create_async_engine(clone_url)
    yield engine
    await engine.dispose()


async def test_a_model_table_that_no_migration_creates_is_named(altered: AsyncEngine) -> None:
    service = replace(project.service("gateway"), metadata=f"{__name__}:METADATA")
    with pytest.raises(AssertionError, match=r"does not make \{'forgotten'\}"):
        await PRINTED(Migrated(service, altered))


@pytest.mark.parametrize(
    ("proof", "statement", "says"),
    [
        (REACH, "ALTER TABLE items DROP quantity", "(?s)New upgrade operations .* db.revision"),
        (DOWN_AND_UP, "CREATE TABLE stray ()", r"alembic downgrade base leaves \['public.stray'\]"),
        (
            DOWN_AND_UP,
            "ALTER TABLE items DROP CONSTRAINT ck_items_quantity_not_negative",
            "unexpected table constraint ck_items_quantity_not_negative",
        ),
    ],
)
async def test_a_database_that_differs_from_its_migrations_fails_with_the_difference(
    altered: AsyncEngine, proof: Proof, statement: str, says: str
) -> None:
    async with altered.begin() as connection:
        await connection.execute(sa.text(statement))
    with pytest.raises(AssertionError, match=says):
        await proof(Migrated(project.service("gateway"), altered))


MIGRATION = """
from alembic import op

revision, down_revision = "{name}", "{after}"


def upgrade():
    {up}


def downgrade():
    {down}
"""
INDEX = (
    (
        "with op.get_context().autocommit_block():"
        " op.create_index('ix_items_name', 'items', ['name'], postgresql_concurrently=True)"
    ),
    "op.drop_index('ix_items_name')",
)
NOT_NULL = (
    "op.execute('ALTER TABLE items ADD shade text NOT NULL')",
    "op.execute('ALTER TABLE items DROP shade')",
)


@pytest.fixture
def extended(tmp_path: Path) -> Callable[[tuple[str, str]], Service]:
    """A service with one more migration."""

    def extend(steps: tuple[str, str]) -> Service:
        service = project.service("gateway")
        own = replace(service, path=tmp_path / "own")
        shutil.copytree(service.path / "migrations", own.path / "migrations")
        shutil.copy(service.path / "pyproject.toml", own.path)
        (head,) = ScriptDirectory(str(own.path / "migrations")).get_heads()
        text = MIGRATION.format(name="more", after=head, up=steps[0], down=steps[1])
        (own.path / "migrations" / "versions" / "more.py").write_text(text)
        return own

    return extend


@pytest.mark.parametrize("proof", [PRINTED, DOWN_AND_UP, AT_ONCE])
async def test_a_migration_outside_a_transaction_passes(
    altered: AsyncEngine, extended: Callable[[tuple[str, str]], Service], proof: Proof
) -> None:
    service = extended(INDEX)
    await asyncio.to_thread(command.upgrade, configuration(service), "head")
    await proof(Migrated(service, altered))


async def test_a_migration_that_fails_on_tables_with_rows_is_named(
    altered: AsyncEngine, extended: Callable[[tuple[str, str]], Service]
) -> None:
    service = extended(NOT_NULL)
    await asyncio.to_thread(command.upgrade, configuration(service), "head")
    with pytest.raises(AssertionError, match="more does not go up on tables with rows: NotNull"):
        await AT_ONCE(Migrated(service, altered))


EXAMPLE = next(
    each.text
    for each in Document(ROOT / "vendor" / "stratakit" / "docs" / "writing-tests.md").blocks
    if "command.downgrade" in each.text
)
SHADE = (
    "op.execute('ALTER TABLE items ADD shade text')",
    "op.execute('ALTER TABLE items DROP shade')",
)
EMPTIED = (SHADE[0], f"{SHADE[1]}\n    op.execute('TRUNCATE items')")


@pytest.mark.parametrize(
    ("steps", "stay"),
    [
        (SHADE, nullcontext()),
        (EMPTIED, pytest.raises(AssertionError)),
    ],
    ids=["rows kept", "rows deleted"],
)
async def test_the_example_in_the_guide_detects_a_migration_that_deletes_rows(
    steps: tuple[str, str],
    stay: AbstractContextManager[object],
    altered: AsyncEngine,
    extended: Callable[[tuple[str, str]], Service],
    clone_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await altered.dispose()
    service = extended(steps)
    await asyncio.to_thread(command.upgrade, configuration(service), "head")
    file = service.path / "tests" / "integration" / "test_rows.py"
    file.parent.mkdir(parents=True)
    file.write_text(EXAMPLE)
    # The example in the guide omits its imports.
    names = {**globals(), "Config": Config, "Row": ItemRow, "PREFIX": service.prefix}
    example = runpy.run_path(str(file), names)["test_it_goes_down_and_up_where_there_are_rows"]
    with stay:
        await example(clone_url, monkeypatch)
