"""The contract of `Spending`: no budget is exceeded, and nothing that was set aside is lost."""

import asyncio
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway import domain, errors
from gateway.domain import MICROCENTS
from gateway.ports import Database

from .. import samples

LONG, OVER = 3600.0, -1.0
"""Seconds that a reservation holds: until after the test, and not even until it is made."""


async def create(database: Database, cents: int = 1) -> UUID:
    return (await samples.team(database, cents)).id


async def spent(database: Database, *teams: UUID) -> list[int]:
    return [(await database.teams.get(team)).spent_microcents for team in teams]


async def reserve(database: Database, team: UUID, microcents: int, ttl: float = LONG) -> UUID:
    reservation = uuid4()
    await database.spending.reserve(reservation, team, microcents, ttl=ttl)
    return reservation


async def test_what_is_set_aside_and_booked_adds_up(database: Database) -> None:
    team, other = await create(database), await create(database)
    before = await database.teams.get(team)
    first = await reserve(database, team, 400_000)
    await reserve(database, team, 600_000)
    with pytest.raises(errors.BudgetError):
        await reserve(database, team, 1)
    await database.spending.settle(first, 7)
    assert await spent(database, team, other) == [600_007, 0]
    # What was spent is no change of the team.
    assert (await database.teams.get(team)).updated_at == before.updated_at


@pytest.mark.parametrize(
    ("cents", "microcents"),
    [
        *((0, 1), (0, 2**31), (0, 2**63), (0, 10**30), (1, MICROCENTS + 1)),
        (domain.INTEGER_LIMIT, domain.INTEGER_LIMIT * MICROCENTS + 1),
    ],
)
async def test_what_is_not_left_is_refused(database: Database, cents: int, microcents: int) -> None:
    team = await create(database, cents)
    with pytest.raises(errors.BudgetError):
        await reserve(database, team, microcents)
    assert await spent(database, team) == [0]
    await reserve(database, team, cents * MICROCENTS)


@pytest.mark.parametrize("used", [0, 5, 2 * MICROCENTS, 10**30])
async def test_what_was_used_is_booked_once_however_much(database: Database, used: int) -> None:
    team = await create(database)
    reservation = await reserve(database, team, MICROCENTS)
    await database.teams.update(team, {"budget_cents": 0})
    for _ in range(2):
        await database.spending.settle(reservation, used)
        # No more than the column holds.
        assert await spent(database, team) == [min(used, 2**63 - 1)]


async def test_what_nobody_renews_is_given_back_and_booked_all_the_same_each_once(
    database: Database,
) -> None:
    team, other = await create(database), await create(database)
    early = [await reserve(database, each, 300_000, OVER) for each in (team, team, other)]
    renewed, held = await reserve(database, team, 5, OVER), await reserve(database, team, 7)
    await database.spending.renew([renewed, uuid4()], ttl=LONG)
    assert await database.spending.give_back() == 3
    assert await database.spending.give_back() == 0
    assert await spent(database, team, other) == [12, 0]
    for reservation in (renewed, held, *early, *early):
        await database.spending.settle(reservation, 100_000)
    assert await spent(database, team, other) == [400_000, 100_000]


async def test_a_team_that_is_gone_can_neither_spend_nor_be_given_back(database: Database) -> None:
    with pytest.raises(errors.NotFoundError):
        await reserve(database, UUID(int=7), 0)
    team = await create(database)
    removed = [await reserve(database, team, 1, ttl) for ttl in (OVER, LONG)]
    await database.teams.remove(team)
    await database.spending.give_back()
    for reservation in removed:
        await database.spending.settle(reservation, 1)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # Each has its own team.
@given(amounts=st.lists(st.integers(1, MICROCENTS), max_size=12), cents=st.integers(0, 3))
async def test_of_those_who_spend_at_once_all_that_the_budget_pays_for_succeed(
    database: Database, amounts: list[int], cents: int
) -> None:
    team = await create(database, cents)
    ended = await asyncio.gather(
        *(reserve(database, team, amount) for amount in amounts), return_exceptions=True
    )
    pairs = list(zip(amounts, ended, strict=True))
    taken = sum(amount for amount, end in pairs if isinstance(end, UUID))
    refused = [amount for amount, end in pairs if not isinstance(end, UUID)]
    assert {type(end) for end in ended} <= {errors.BudgetError, UUID}
    assert await spent(database, team) == [taken]
    # What was refused would be too much still: nothing is given back here.
    assert taken <= cents * MICROCENTS
    assert all(taken + amount > cents * MICROCENTS for amount in refused)
