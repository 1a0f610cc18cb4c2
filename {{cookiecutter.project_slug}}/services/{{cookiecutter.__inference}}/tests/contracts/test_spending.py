"""The contract of `Database.spend`: no budget is exceeded, however many spend at once."""

import asyncio
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway import domain, errors
from gateway.domain import MICROCENTS
from gateway.ports import Database


async def create(database: Database, cents: int) -> UUID:
    new = domain.NewTeam(name=uuid4().hex, budget_cents=cents)
    return (await database.teams.create(new)).id


async def spent(database: Database, team: UUID) -> int:
    return (await database.teams.get(team)).spent_microcents


async def test_what_is_spent_adds_up(database: Database) -> None:
    team, other = await create(database, 1), await create(database, 1)
    await database.spend(team, 400_000)
    await database.spend(team, 600_000)
    assert await spent(database, team) == MICROCENTS
    assert await spent(database, other) == 0


async def test_more_than_is_left_is_refused_and_nothing_taken(database: Database) -> None:
    team = await create(database, 1)
    await database.spend(team, 999_999)
    with pytest.raises(errors.BudgetError):
        await database.spend(team, 2)
    assert await spent(database, team) == 999_999
    await database.spend(team, 1)


@pytest.mark.parametrize("microcents", [1, 2**31, 2**63, 10**30])
async def test_without_a_budget_nothing_can_be_spent(database: Database, microcents: int) -> None:
    team = await create(database, 0)
    with pytest.raises(errors.BudgetError):
        await database.spend(team, microcents)


async def test_the_largest_budget_can_be_spent(database: Database) -> None:
    team = await create(database, domain.INTEGER_LIMIT)
    await database.spend(team, domain.INTEGER_LIMIT * MICROCENTS)
    with pytest.raises(errors.BudgetError):
        await database.spend(team, 1)


async def test_what_is_given_back_can_be_spent_again(database: Database) -> None:
    team = await create(database, 1)
    await database.spend(team, MICROCENTS)
    await database.spend(team, -300_000)
    await database.spend(team, 300_000)
    assert await spent(database, team) == MICROCENTS


async def test_no_more_is_given_back_than_was_spent(database: Database) -> None:
    team = await create(database, 1)
    await database.spend(team, 5)
    await database.spend(team, -(10**30))
    assert await spent(database, team) == 0


async def test_giving_back_is_not_refused_though_the_budget_was_cut(database: Database) -> None:
    team = await create(database, 2)
    await database.spend(team, 2 * MICROCENTS)
    await database.teams.update(team, {"budget_cents": 1})
    await database.spend(team, -5)
    await database.spend(team, 0)
    assert await spent(database, team) == 2 * MICROCENTS - 5
    with pytest.raises(errors.BudgetError):
        await database.spend(team, 1)


async def test_spending_is_no_change_of_the_team(database: Database) -> None:
    team = await create(database, 1)
    before = await database.teams.get(team)
    await database.spend(team, 5)
    assert (await database.teams.get(team)).updated_at == before.updated_at


@pytest.mark.parametrize("microcents", [-1, 0, 1])
async def test_a_team_that_is_not_there_cannot_spend(database: Database, microcents: int) -> None:
    with pytest.raises(errors.NotFoundError):
        await database.spend(UUID(int=7), microcents)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # Each has its own team.
@given(amounts=st.lists(st.integers(1, MICROCENTS), max_size=12), cents=st.integers(0, 3))
async def test_of_those_who_spend_at_once_all_that_the_budget_pays_for_succeed(
    database: Database, amounts: list[int], cents: int
) -> None:
    team = await create(database, cents)
    ended = await asyncio.gather(
        *(database.spend(team, amount) for amount in amounts), return_exceptions=True
    )
    taken = sum(amount for amount, end in zip(amounts, ended, strict=True) if end is None)
    refused = [amount for amount, end in zip(amounts, ended, strict=True) if end]
    assert {type(end) for end in ended if end} <= {errors.BudgetError}
    assert await spent(database, team) == taken <= cents * MICROCENTS
    # What was refused would be too much still: nothing is given back here.
    assert all(taken + amount > cents * MICROCENTS for amount in refused)
