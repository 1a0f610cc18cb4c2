"""The database on PostgreSQL, beyond its contract: who meets whom.

What every repository does, and what becomes of calls that the server leaves alone, is shown by the
tests of servicebase.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from stratakit.testing import eventually
from stratakit.testing.locks import waiting

from gateway import domain, errors
from gateway.domain import MICROCENTS, NewTeam
from gateway.models import ApiKeyRow, ConfigRow, TeamRow
from gateway.ports import Database

LAMP = NewTeam(name="lamp", budget_cents=1)
EMAIL = "ann@example.org"


async def meet(engine: AsyncEngine, first: sa.Executable, second: Coroutine[Any, Any, Any]) -> Any:
    """Return what comes of a call that waits until the statement before it was committed."""
    async with engine.begin() as connection:
        await connection.execute(first)
        task = asyncio.create_task(second)
        await eventually(lambda: waiting(engine))
    return await task


async def test_a_spender_waits_for_the_one_before_it_and_finds_the_budget_spent(
    postgres_database: Database, engine: AsyncEngine
) -> None:
    team = await postgres_database.teams.add(uuid4(), LAMP)
    reserve = postgres_database.spending.reserve(UUID(int=7), team.id, 1, ttl=9)
    with pytest.raises(errors.BudgetError):
        await meet(engine, sa.update(TeamRow).values(spent_microcents=MICROCENTS), reserve)


async def test_a_team_being_removed_gets_no_user(
    postgres_database: Database, engine: AsyncEngine
) -> None:
    team = await postgres_database.teams.add(uuid4(), LAMP)
    join = postgres_database.users.add(uuid4(), domain.NewUser(team_id=team.id, email=EMAIL))
    with pytest.raises(errors.InvalidReferenceError):
        await meet(engine, sa.delete(TeamRow), join)


async def test_a_key_that_is_just_made_is_revoked_with_the_others_of_who_is_locked_out(
    postgres_database: Database, engine: AsyncEngine
) -> None:
    user = await postgres_database.register(LAMP, EMAIL, "hash")
    new = {"team_id": user.team_id, "user_id": user.id, "hash": "x", "prefix": "sk-"}
    lock_out = postgres_database.users.update(user.id, {"password_hash": None})
    await meet(engine, sa.insert(ApiKeyRow).values(new), lock_out)
    assert (await postgres_database.grant("x")).key.revoked_at


async def test_a_registration_that_is_given_up_leaves_nothing_behind(
    postgres_database: Database, engine: AsyncEngine
) -> None:
    pool: Any = engine.pool
    async with engine.connect() as connection, connection.begin() as transaction:
        await connection.execute(sa.insert(TeamRow).values(name="lamp"))
        second = asyncio.create_task(postgres_database.register(LAMP, EMAIL, "hash"))
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
        await connection.execute(sa.insert(ConfigRow).values(config=stored))
    with pytest.raises(errors.UnreadableError):
        await postgres_database.config()
    added = await postgres_database.add_config(domain.Config(max_tokens=5))
    assert await postgres_database.config() == added
