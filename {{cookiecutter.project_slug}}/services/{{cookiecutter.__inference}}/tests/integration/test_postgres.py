"""The database on PostgreSQL, beyond its contract."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from ops.testing import eventually

from gateway import domain, errors, models
from gateway.adapters import postgres
from gateway.domain import MICROCENTS, NewTeam
from gateway.ports import Database

Team = models.TeamRow
LAMP = NewTeam(name="lamp", budget_cents=1)

TERMINATE_OTHERS = sa.text(
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    " AND application_name = 'gateway'"
)


@pytest.fixture
async def hasty(engine: AsyncEngine) -> AsyncIterator[AsyncEngine]:
    """One more connection to the same database, which does not wait for long."""
    hasty = postgres.connect(engine.url, pool_size=1, timeout=0.5)
    yield hasty
    await hasty.dispose()


async def waiting(engine: AsyncEngine) -> bool:
    """Say whether somebody waits for a lock in this database."""
    activity = sa.table("pg_stat_activity", sa.column("datname"), sa.column("wait_event_type"))
    mine = activity.c.datname == sa.func.current_database()
    query = sa.select(sa.func.count()).where(mine, activity.c.wait_event_type == "Lock")
    async with engine.connect() as connection:
        return bool(await connection.scalar(query))


async def test_what_is_created_is_committed(
    postgres_database: Database, engine: AsyncEngine
) -> None:
    await postgres_database.teams.create(LAMP)
    async with engine.connect() as connection:
        assert await connection.scalar(sa.select(Team.name)) == "lamp"


async def test_what_is_not_committed_is_not_seen_by_others(
    postgres_database: Database, engine: AsyncEngine
) -> None:
    async with engine.connect() as connection, connection.begin() as transaction:
        await connection.execute(sa.insert(Team).values(name="lamp"))
        assert not await postgres_database.teams.page(limit=1)
        await transaction.rollback()


async def test_a_writer_waits_for_the_one_before_it_and_loses_the_name(
    postgres_database: Database, engine: AsyncEngine
) -> None:
    async with engine.connect() as connection, connection.begin() as transaction:
        await connection.execute(sa.insert(Team).values(name="lamp"))
        second = asyncio.create_task(postgres_database.teams.create(LAMP))
        await eventually(lambda: waiting(engine))
        await transaction.commit()
    with pytest.raises(errors.ConflictError):
        await second


async def test_a_writer_gets_the_name_when_the_one_before_it_gives_up(
    postgres_database: Database, engine: AsyncEngine
) -> None:
    async with engine.connect() as connection, connection.begin() as transaction:
        await connection.execute(sa.insert(Team).values(name="lamp"))
        second = asyncio.create_task(postgres_database.teams.create(LAMP))
        await eventually(lambda: waiting(engine))
        await transaction.rollback()
    assert (await second).name == "lamp"


async def test_a_writer_changes_what_the_one_before_it_left(
    postgres_database: Database, engine: AsyncEngine
) -> None:
    team = await postgres_database.teams.create(LAMP)
    async with engine.connect() as connection, connection.begin() as transaction:
        await connection.execute(sa.update(Team).values(budget_cents=5))
        second = asyncio.create_task(postgres_database.teams.update(team.id, {"name": "desk"}))
        await eventually(lambda: waiting(engine))
        await transaction.commit()
    after = await second
    assert (after.name, after.budget_cents) == ("desk", 5)


async def test_a_spender_waits_for_the_one_before_it_and_finds_the_budget_spent(
    postgres_database: Database, engine: AsyncEngine
) -> None:
    team = await postgres_database.teams.create(LAMP)
    async with engine.connect() as connection, connection.begin() as transaction:
        await connection.execute(sa.update(Team).values(spent_microcents=MICROCENTS))
        second = asyncio.create_task(postgres_database.spend(team.id, 1))
        await eventually(lambda: waiting(engine))
        await transaction.commit()
    with pytest.raises(errors.BudgetError):
        await second


async def test_nothing_can_be_added_to_a_team_while_it_is_removed(
    postgres_database: Database, engine: AsyncEngine
) -> None:
    team = await postgres_database.teams.create(LAMP)
    new = domain.NewUser(team_id=team.id, email="ann@example.org")
    async with engine.connect() as connection, connection.begin() as transaction:
        await connection.execute(sa.delete(Team))
        second = asyncio.create_task(postgres_database.users.create(new))
        await eventually(lambda: waiting(engine))
        await transaction.commit()
    with pytest.raises(errors.DanglingError):
        await second


async def test_a_mistake_of_ours_is_no_error_of_the_client(postgres_database: Database) -> None:
    with pytest.raises(sa.exc.DBAPIError):
        await postgres_database.teams.create(NewTeam(name="x" * (domain.NAME_LENGTH + 1)))


async def test_a_constraint_that_the_models_do_not_know_is_a_mistake_of_ours(
    engine: AsyncEngine,
) -> None:
    stray = sa.text("ALTER TABLE teams ADD CONSTRAINT stray CHECK (budget_cents < 1)")
    async with engine.connect() as connection, connection.begin() as transaction:
        await connection.execute(stray)
        with pytest.raises(sa.exc.IntegrityError) as caught:
            await connection.execute(sa.insert(Team).values(name="lamp", budget_cents=1))
        await transaction.rollback()
    assert postgres.violation(caught.value) is None


async def test_a_call_that_the_server_cuts_off_may_succeed_later(
    postgres_database: Database, engine: AsyncEngine
) -> None:
    async with engine.connect() as connection, connection.begin() as transaction:
        await connection.execute(sa.insert(Team).values(name="lamp"))
        second = asyncio.create_task(postgres_database.teams.create(LAMP))
        await eventually(lambda: waiting(engine))
        await connection.execute(TERMINATE_OTHERS)
        with pytest.raises(errors.UnavailableError):
            await second
        await transaction.rollback()


async def test_a_connection_that_the_server_closed_costs_no_call(
    postgres_database: Database, engine: AsyncEngine
) -> None:
    await postgres_database.ping()
    async with engine.connect() as connection:
        await connection.execute(TERMINATE_OTHERS)
    await postgres_database.ping()


async def test_more_calls_at_once_than_connections_wait_for_their_turn(
    postgres_database: Database, engine: AsyncEngine
) -> None:
    assert isinstance(engine.pool, sa.AsyncAdaptedQueuePool)
    calls = 4 * engine.pool.size()
    names = [NewTeam(name=str(number)) for number in range(calls)]
    await asyncio.gather(*map(postgres_database.teams.create, names))
    assert len(await postgres_database.teams.page(limit=calls + 1)) == calls
    assert engine.pool.checkedout() == 0


async def test_a_call_that_gets_no_connection_in_time_may_succeed_later(
    hasty: AsyncEngine,
) -> None:
    database = postgres.PostgresDatabase(hasty)
    async with hasty.connect():
        with pytest.raises(errors.UnavailableError):
            await database.ping()
    await database.ping()


async def test_a_call_that_waits_for_another_for_too_long_may_succeed_later(
    postgres_database: Database, engine: AsyncEngine, hasty: AsyncEngine
) -> None:
    team = await postgres_database.teams.create(LAMP)
    database = postgres.PostgresDatabase(hasty)
    async with engine.connect() as connection, connection.begin() as transaction:
        await connection.execute(sa.update(Team).values(budget_cents=5))
        with pytest.raises(errors.UnavailableError):
            await database.spend(team.id, 1)
        await transaction.rollback()
    await database.spend(team.id, 1)
    assert (await database.teams.get(team.id)).spent_microcents == 1


async def test_a_call_that_is_given_up_leaves_nothing_behind(
    postgres_database: Database, engine: AsyncEngine
) -> None:
    assert isinstance(engine.pool, sa.AsyncAdaptedQueuePool)
    pool = engine.pool
    async with engine.connect() as connection, connection.begin() as transaction:
        await connection.execute(sa.insert(Team).values(name="lamp"))
        second = asyncio.create_task(postgres_database.register(LAMP, "ann@example.org", "hash"))
        await eventually(lambda: waiting(engine))
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        await transaction.rollback()
    await eventually(lambda: pool.checkedout() == 0)
    assert not await postgres_database.teams.page(limit=1)
