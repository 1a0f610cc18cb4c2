"""Tests of a service's migrations: do they lead to its models, and back?

    from stratakit.testing import migrations

    test_migrations = migrations.suite("billing")

That they have one head, the run has asked before its first test. What the tables hold is for
`stratakit.testing.schema`.
"""

import asyncio
import io
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.util.exc import CommandError
from sqlalchemy.ext.asyncio import AsyncEngine

from .. import project
from ..database.migrations import configuration
from ..schema import fingerprint
from ..schema.fingerprint import Facts
from ..schema.verify import load_metadata
from .assertions import require
from .catalog import rows


@dataclass(frozen=True, slots=True)
class Migrated:
    """A service, and a database that its migrations have made."""

    service: project.Service
    engine: AsyncEngine

    @property
    def tables(self) -> set[str]:
        """The names of the models' tables."""
        return set(load_metadata(self.service.metadata).tables)


Proof = Callable[[Migrated], Awaitable[None]]


def suite(name: str) -> Callable[..., Awaitable[None]]:
    """Return a test with a case for each property of the migrations of the service `name`."""

    @pytest.mark.parametrize("proof", PROOFS, ids=lambda proof: proof.__name__.replace("_", "-"))
    async def test_migrations(
        proof: Proof, postgres_engine: AsyncEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        service = project.service(name)
        # Where no `.env` is.
        monkeypatch.chdir(tmp_path)
        url = postgres_engine.url.render_as_string(hide_password=False)
        monkeypatch.setenv(f"{service.prefix}DATABASE_URL", url)
        await proof(Migrated(service, postgres_engine))

    return test_migrations


async def can_be_printed_for_someone_else_to_run(migrated: Migrated) -> None:
    """Assert that `alembic upgrade head --sql` prints what makes each table, in a transaction.

    Raises:
        AssertionError: it does not.
    """
    printed = io.StringIO()
    config = configuration(migrated.service, output_buffer=printed)
    await asyncio.to_thread(command.upgrade, config, "head", sql=True)
    missing = {
        name for name in migrated.tables if f"CREATE TABLE {name} " not in printed.getvalue()
    }
    require(not missing, f"alembic upgrade head --sql does not make {missing}")
    require("COMMIT" in printed.getvalue(), "alembic upgrade head --sql has no COMMIT")


async def reach_the_database_of_the_settings(migrated: Migrated) -> None:
    """Assert that Alembic finds the database by its URL alone, and nothing to migrate in it.

    Raises:
        AssertionError: the models have what no migration makes.
    """
    try:
        # In a thread there is no event loop yet.
        await asyncio.to_thread(command.check, configuration(migrated.service))
    except CommandError as error:
        raise AssertionError(str(error)) from error


async def go_down_to_nothing_and_up_again(migrated: Migrated) -> None:
    """Assert that no table is left of them, and that they give the same schema a second time.

    Raises:
        AssertionError: one is left, or the schema is another.
    """
    # PostgreSQL undoes DDL as well.
    async with migrated.engine.connect() as connection, connection.begin() as transaction:
        before, below, after = await connection.run_sync(_down_and_up, migrated.service)
        await transaction.rollback()
    left = [fact.name for fact in below.values() if fact.kind == "table"]
    require(not left, f"alembic downgrade base leaves {left}")
    differences = "\n".join(map(str, fingerprint.compare(before, after)))
    require(not differences, f"another schema after going down and up:\n{differences}")


def _down_and_up(connection: sa.Connection, service: project.Service) -> tuple[Facts, Facts, Facts]:
    config = configuration(service, attributes={"connection": connection})
    before = fingerprint.by_key(rows(connection))
    command.downgrade(config, "base")
    below = fingerprint.by_key(rows(connection))
    command.upgrade(config, "head")
    return before, below, fingerprint.by_key(rows(connection))


PROOFS: tuple[Proof, ...] = (
    can_be_printed_for_someone_else_to_run,
    reach_the_database_of_the_settings,
    go_down_to_nothing_and_up_again,
)
