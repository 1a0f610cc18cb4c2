"""What is set aside of budgets holds as long as the process that did it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import pytest
from structlog.typing import EventDict

from stratakit.testing import eventually

from gateway import errors
from gateway.reservations import BEAT, TTL, Reservations

from .conftest import Customer, World, meanwhile


@pytest.fixture
async def reservations(customer: Customer) -> Reservations:
    """Those of a process that lives; the customer has a cent."""
    await customer.pay()
    return Reservations(customer.world.database.spending, customer.world.clock)


@asynccontextmanager
async def beating(world: World, reservations: Reservations) -> AsyncIterator[None]:
    """Let a process beat, whose first beat is over."""
    task = asyncio.create_task(reservations.run())
    await eventually(lambda: world.clock.sleeping == 1)
    yield
    task.cancel()


async def beat(world: World, seconds: float = BEAT) -> None:
    world.clock.advance(seconds)
    await eventually(lambda: world.clock.sleeping == 1)


async def test_what_a_killed_process_has_set_aside_others_give_back_within_a_minute(
    customer: Customer, world: World, reservations: Reservations
) -> None:
    await Reservations(world.database.spending, world.clock).reserve(customer.team.id, 400_000)
    await reservations.reserve(customer.team.id, 300_000)
    async with beating(world, reservations):
        for number in range(1, 6):
            assert await customer.spent() == (700_000 if number * BEAT <= TTL + BEAT else 300_000)
            await beat(world)


@pytest.mark.parametrize("error", [errors.UnavailableError("postgres"), RuntimeError()])
async def test_a_beat_that_fails_is_logged_and_the_next_one_is_made(
    customer: Customer, reservations: Reservations, lines: list[EventDict], error: Exception
) -> None:
    world, due = customer.world, [error]

    async def fail_once() -> None:
        if due:
            raise due.pop()

    await Reservations(world.database.spending, world.clock).reserve(customer.team.id, 5)
    meanwhile(world.database.spending, "renew", fail_once)
    level = "error" if isinstance(error, RuntimeError) else "warning"
    async with beating(world, reservations):
        assert [(line["event"], line["log_level"]) for line in lines] == [("not renewed", level)]
        await beat(world, TTL + BEAT)
        assert await customer.spent() == 0


async def test_what_nobody_knows_to_be_set_aside_is_given_back_by_the_next_beat(
    customer: Customer, world: World, reservations: Reservations
) -> None:
    reserve = world.database.spending.reserve

    async def lost(reservation: UUID, team: UUID, microcents: int, *, ttl: float) -> None:
        await reserve(reservation, team, microcents, ttl=ttl)
        raise errors.UnavailableError("postgres")

    world.database.spending.reserve = lost  # type: ignore[method-assign]  # The answer is lost.
    with pytest.raises(errors.UnavailableError):
        await reservations.reserve(customer.team.id, 5)
    assert await customer.spent() == 5
    await reservations.beat()
    assert await customer.spent() == 0


async def test_what_is_due_is_booked_before_anything_else_is_set_aside_again(
    customer: Customer, world: World, reservations: Reservations
) -> None:
    reservation = await reservations.reserve(customer.team.id, 5)
    world.database.down = True
    await reservations.settle(reservation, 3)
    with pytest.raises(errors.UnavailableError):
        await reservations.reserve(customer.team.id, 7)
    world.database.down = False
    await reservations.reserve(customer.team.id, 7)
    # Without a beat, at which the process may be gone.
    assert await customer.spent() == 3 + 7


async def test_at_the_end_what_is_due_is_booked_or_told(
    customer: Customer, world: World, reservations: Reservations, lines: list[EventDict]
) -> None:
    reservation = await reservations.reserve(customer.team.id, 5)
    world.database.down = True
    await reservations.settle(reservation, 3)
    await reservations.end()
    assert (lines[-1]["event"], lines[-1]["microcents"]) == ("not booked", 3)
    world.database.down = False
    await reservations.end()
    assert await customer.spent() == 3
