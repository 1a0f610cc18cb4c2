"""Tests of a service's migrations: do they lead to its models, and back?

    from stratakit.testing import migrations

    test_migrations = migrations.suite("billing")

The run has already checked before its first test that they have one head. The tables themselves
are tested by `stratakit.testing.schema`.
"""

import asyncio
import io
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Never, TypeVar

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import render_python_code
from alembic.operations import ops
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from .. import project
from ..database.migrations import WRITE, configuration
from ..errors import InfrastructureError
from ..schema import fingerprint, pending
from ..schema.directives import Directives
from ..schema.fingerprint import Facts
from ..schema.revisions import Chain, Revisions
from ..schema.verify import load_metadata
from .assertions import require
from .catalog import rows

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Migrated:
    """A service, and a database that was created by its migrations."""

    service: project.Service
    engine: AsyncEngine
    whole: bool = True
    """Whether the database belongs to one test, so that its commits disturb no others."""

    @property
    def tables(self) -> set[str]:
        """Names of the models' tables."""
        return set(load_metadata(self.service.metadata).tables)

    async def on_connection(self, action: Callable[[sa.Connection], T]) -> T:
        """Call a function with a connection, in a transaction if the database is shared."""
        async with self.engine.connect() as connection:
            if not self.whole:
                await connection.begin()
            return await connection.run_sync(action)


Proof = Callable[[Migrated], Awaitable[None]]


def suite(name: str) -> Callable[..., Awaitable[None]]:
    """Return a test with a case for each property of the migrations of the service `name`."""

    @pytest.mark.parametrize("proof", PROOFS, ids=lambda proof: proof.__name__.replace("_", "-"))
    async def test_migrations(
        proof: Proof,
        postgres_url: str,
        request: pytest.FixtureRequest,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        service = project.service(name)
        # A directory without a `.env`.
        monkeypatch.chdir(tmp_path)
        whole = True
        try:
            url = request.getfixturevalue("clone_url")
        except InfrastructureError:
            # The role may not create databases: use a transaction instead, or skip the case.
            whole, url = False, postgres_url
        monkeypatch.setenv(f"{service.prefix}DATABASE_URL", url)
        engine = create_async_engine(url, poolclass=sa.NullPool)
        await proof(Migrated(service, engine, whole))

    return test_migrations


async def can_be_printed_for_someone_else_to_run(migrated: Migrated) -> None:
    """Assert that `alembic upgrade head --sql` prints a transaction that creates each table.

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
    """Assert that Alembic finds the database by its URL alone, and has nothing to migrate in it.

    Raises:
        AssertionError: the models have what no migration creates.
    """
    config, wanting = configuration(migrated.service), ops.UpgradeOps()
    scripts = ScriptDirectory.from_config(config)

    def compare(_: object, context: MigrationContext) -> list[Never]:
        # Objects without a model count too; a partition is a part of a table that has one.
        wanting.ops += Directives({}, drop=True).compare(context).ops
        return []

    def run() -> None:
        with EnvironmentContext(config, scripts, fn=compare):
            scripts.run_env()

    # In a thread there is no event loop yet.
    await asyncio.to_thread(run)
    code = render_python_code(wanting)
    require(wanting.is_empty(), f"New upgrade operations detected:\n{code}\nhint: {WRITE}")


async def go_down_to_nothing_and_up_again(migrated: Migrated) -> None:
    """Assert that they leave no table after going down, and the same schema after going up again.

    Raises:
        AssertionError: a table is left, or the schema differs.
    """
    before, below, after = await migrated.on_connection(partial(_down_and_up, migrated.service))
    left = [fact.name for fact in below.values() if fact.kind == "table"]
    require(not left, f"alembic downgrade base leaves {left}")
    differences = "\n".join(map(str, fingerprint.compare(before, after)))
    require(not differences, f"another schema after going down and up:\n{differences}")


def _down_and_up(service: project.Service, connection: sa.Connection) -> tuple[Facts, Facts, Facts]:
    config = configuration(service, attributes={"connection": connection})

    def facts() -> Facts:
        found = fingerprint.by_key(rows(connection))
        if not inside:
            connection.rollback()
        return found

    inside = connection.in_transaction()
    before = facts()
    command.downgrade(config, "base")
    below = facts()
    command.upgrade(config, "head")
    return before, below, facts()


async def go_up_at_once_from_each_revision(migrated: Migrated) -> None:
    """Assert that all pending revisions go up at once, from each earlier one and on rows.

    Raises:
        AssertionError: they do not.
    """
    if not migrated.whole:
        pytest.skip("the role may not create databases, which this needs one of")
    faults = await migrated.on_connection(partial(_at_once, migrated.service))
    require(not faults, "\n".join(faults))


def _at_once(service: project.Service, connection: sa.Connection) -> list[str]:
    revisions = Revisions(service)
    config = configuration(service, attributes={"connection": connection})

    def start(chain: Chain) -> sa.Connection:
        pending.empty(connection)
        command.downgrade(config, "base")
        for revision in chain:
            revisions.apply(connection, revision)
        return connection

    # With a single revision, nothing is pending that the other cases have not applied.
    if len(revisions.chain) <= 1:
        return []
    return list(pending.faults(revisions, start, service.oldest_revision))


PROOFS: tuple[Proof, ...] = (
    can_be_printed_for_someone_else_to_run,
    reach_the_database_of_the_settings,
    go_down_to_nothing_and_up_again,
    go_up_at_once_from_each_revision,
)
