"""The database on PostgreSQL, beyond its contract."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from servicebase.postgres import connect
from stratakit.testing import eventually
from stratakit.testing.locks import terminate, waiting

from gateway import domain, errors, models
from gateway.adapters import postgres
from gateway.domain import MICROCENTS, NewTeam
from gateway.ports import Database

Team = models.TeamRow
LAMP = NewTeam(name="lamp", budget_cents=1)


@asynccontextmanager
async def alone(engine: AsyncEngine, timeout: float) -> AsyncIterator[AsyncEngine]:
    """Give one more connection to the same database for the length of a block."""
    alone = connect(engine.url, name="alone", pool_size=1, timeout=timeout)
    try:
        yield alone
    finally:
        await alone.dispose()


@pytest.fixture
async def hasty(engine: AsyncEngine) -> AsyncIterator[AsyncEngine]:
    """One more connection, made already, which does not wait for long.

    A machine that is busy may let that time pass at any call: each has to be tried again.
    """
    async with alone(engine, timeout=1) as hasty:
        await eventually(lambda: answers(hasty))
        yield hasty


async def answers(engine: AsyncEngine) -> bool:
    """Return if the server answers."""
    await postgres.PostgresDatabase(engine).ping()
    return True


async def test_what_is_created_is_committed(
    postgres_database: Database, engine: AsyncEngine
) -> None:
    await postgres_database.teams.add(uuid4(), LAMP)
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
        second = asyncio.create_task(postgres_database.teams.add(uuid4(), LAMP))
        await eventually(lambda: waiting(engine))
        await transaction.commit()
    with pytest.raises(errors.ConflictError):
        await second


async def test_a_writer_gets_the_name_when_the_one_before_it_gives_up(
    postgres_database: Database, engine: AsyncEngine
) -> None:
    async with engine.connect() as connection, connection.begin() as transaction:
        await connection.execute(sa.insert(Team).values(name="lamp"))
        second = asyncio.create_task(postgres_database.teams.add(uuid4(), LAMP))
        await eventually(lambda: waiting(engine))
        await transaction.rollback()
    assert (await second).name == "lamp"


async def test_a_writer_changes_what_the_one_before_it_left(
    postgres_database: Database, engine: AsyncEngine
) -> None:
    team = await postgres_database.teams.add(uuid4(), LAMP)
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
    team = await postgres_database.teams.add(uuid4(), LAMP)
    async with engine.connect() as connection, connection.begin() as transaction:
        await connection.execute(sa.update(Team).values(spent_microcents=MICROCENTS))
        second = asyncio.create_task(
            postgres_database.spending.reserve(UUID(int=7), team.id, 1, ttl=9)
        )
        await eventually(lambda: waiting(engine))
        await transaction.commit()
    with pytest.raises(errors.BudgetError):
        await second


async def test_nothing_can_be_added_to_a_team_while_it_is_removed(
    postgres_database: Database, engine: AsyncEngine
) -> None:
    team = await postgres_database.teams.add(uuid4(), LAMP)
    new = domain.NewUser(team_id=team.id, email="ann@example.org")
    async with engine.connect() as connection, connection.begin() as transaction:
        await connection.execute(sa.delete(Team))
        second = asyncio.create_task(postgres_database.users.add(uuid4(), new))
        await eventually(lambda: waiting(engine))
        await transaction.commit()
    with pytest.raises(errors.InvalidReferenceError):
        await second


async def test_a_call_that_the_server_cuts_off_may_succeed_later(
    postgres_database: Database, engine: AsyncEngine
) -> None:
    async with engine.connect() as connection, connection.begin() as transaction:
        await connection.execute(sa.insert(Team).values(name="lamp"))
        second = asyncio.create_task(postgres_database.teams.add(uuid4(), LAMP))
        await connection.execute(terminate(await eventually(lambda: waiting(engine))))
        with pytest.raises(errors.UnavailableError):
            await second
        await transaction.rollback()
    assert (await postgres_database.teams.add(uuid4(), LAMP)).name == "lamp"


async def test_more_calls_at_once_than_connections_wait_for_their_turn(
    postgres_database: Database, engine: AsyncEngine
) -> None:
    assert isinstance(engine.pool, sa.AsyncAdaptedQueuePool)
    calls = 4 * engine.pool.size()
    names = [NewTeam(name=str(number)) for number in range(calls)]
    await asyncio.gather(*(postgres_database.teams.add(uuid4(), each) for each in names))
    assert len(await postgres_database.teams.page(limit=calls + 1)) == calls
    assert engine.pool.checkedout() == 0


async def test_a_call_that_gets_no_connection_in_time_may_succeed_later(
    hasty: AsyncEngine,
) -> None:
    async with hasty.connect():
        with pytest.raises(errors.UnavailableError) as caught:
            await answers(hasty)
        # Of the pool, not of the server.
        assert isinstance(caught.value.__cause__, sa.exc.TimeoutError)
    await eventually(lambda: answers(hasty))


async def test_a_call_that_waits_for_another_for_too_long_may_succeed_later(
    postgres_database: Database, engine: AsyncEngine, hasty: AsyncEngine
) -> None:
    team = await postgres_database.teams.add(uuid4(), LAMP)
    teams = postgres.PostgresDatabase(hasty).teams

    async def seen_waiting() -> bool:
        """Have a call given up; say whether it was because it waited."""
        call = asyncio.create_task(teams.update(team.id, {"budget_cents": 7}))
        seen = False
        while not (seen or call.done()):
            seen = bool(await waiting(engine))
        with pytest.raises(errors.UnavailableError):
            await call
        return seen

    async with engine.connect() as connection, connection.begin() as transaction:
        await connection.execute(sa.update(Team).values(budget_cents=5))
        await eventually(seen_waiting, timeout=30)
        await transaction.rollback()
    assert await eventually(lambda: teams.update(team.id, {"budget_cents": 7}))
    assert (await postgres_database.teams.get(team.id)).budget_cents == 7


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


@pytest.mark.parametrize("stored", [{"version": "many"}, {"models": {"echo": "echo"}}])
async def test_a_stored_config_that_is_none_is_told_until_the_next_one(
    postgres_database: Database, engine: AsyncEngine, stored: dict[str, object]
) -> None:
    async with engine.begin() as connection:
        await connection.execute(sa.insert(models.ConfigRow).values(config=stored))
    with pytest.raises(errors.UnreadableError):
        await postgres_database.config()
    added = await postgres_database.add_config(domain.Config(max_tokens=5))
    assert await postgres_database.config() == added
