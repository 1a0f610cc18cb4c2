"""The way of a request, where no client sees it; what it sets aside of a budget, and how long."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from uuid import UUID

import pytest
from structlog.typing import EventDict

from stratakit.testing import eventually

from gateway import domain, errors
from gateway.completion_service import ESTIMATE, Admitted
from gateway.ports import Inference
from gateway.reservations import BEAT, TTL, Reservations

from .conftest import Customer, World, meanwhile

REQUEST = Inference(model="mine", prompt="Hello")
COUNTED = 30
"""Tokens: ten of the prompt, and the twenty that the alias grants."""


@pytest.fixture(autouse=True)
async def quota(customer: Customer) -> domain.Quota:
    """The team's quota. It has a budget as well."""
    await customer.pay()
    return await customer.world.quota(customer.team, 100, 1000)


async def admit(customer: Customer, request: Inference = REQUEST) -> Admitted:
    admitted: Admitted = await customer.app.state.completions.admit(customer.key.hash, request)
    return admitted


async def limit(world: World, quota: domain.Quota, **changes: int) -> None:
    """Change the team's quota, and tell everybody."""
    await world.database.quotas.update(quota.id, changes)
    await world.announcements.announce()


@pytest.mark.parametrize("n", [1, 3])
# Nothing, what is usual, and more than was asked for.
@pytest.mark.parametrize("usage", [domain.Usage(0, 0), domain.Usage(3, 2), domain.Usage(80, 2)])
async def test_what_it_may_take_at_most_is_paid_ahead_and_then_what_it_took_once(
    customer: Customer, n: int, usage: domain.Usage
) -> None:
    admitted = await admit(customer, replace(REQUEST, n=n))
    most = 10 + 20 * n
    assert await customer.used() == (most, most * 7)
    admitted.usage = usage
    for _ in range(2):
        await admitted.close()
        assert await customer.used() == (usage.total, usage.total * 7)
    assert customer.app.state.concurrency.taken == 0


async def test_what_cannot_be_settled_is_logged_and_of_the_budget_it_is_booked_once_it_can(
    customer: Customer, lines: list[EventDict]
) -> None:
    admitted = await admit(customer)
    await admitted.complete()
    world = customer.world
    world.limiter.down = world.database.down = True
    await admitted.close()
    world.limiter.down = world.database.down = False
    assert await customer.used() == (COUNTED, COUNTED * 7)
    assert [line["event"] for line in lines] == ["not booked yet"]
    await customer.app.state.completions.reservations.beat()
    assert await customer.used() == (COUNTED, 5 * 7)


async def test_who_was_answered_by_a_stream_has_paid_before_its_end(customer: Customer) -> None:
    admitted = await admit(customer)
    async for chunk in admitted.stream():
        assert await customer.spent() == (5 if chunk.usage else COUNTED) * 7
    await admitted.close()
    assert await customer.spent() == 5 * 7


@pytest.mark.parametrize(("tokens", "counted"), [(2000, 10 + ESTIMATE), (30, 30), (11, 11)])
async def test_of_an_answer_without_a_limit_no_more_is_set_aside_than_the_quota_has(
    customer: Customer, quota: domain.Quota, tokens: int, counted: int
) -> None:
    await customer.set_parameters()
    await limit(customer.world, quota, tokens_per_minute=tokens)
    admitted = await admit(customer)
    assert admitted.request.inference.max_tokens is None
    assert (admitted.tokens, await customer.spent()) == (counted, counted * 7)
    # However much it takes.
    admitted.usage = domain.Usage(10, 3 * ESTIMATE)
    await admitted.close()
    assert await customer.spent() == (10 + 3 * ESTIMATE) * 7


async def test_a_key_revoked_meanwhile_costs_nothing(customer: Customer, world: World) -> None:
    async def revoke() -> None:
        await world.database.keys.update(customer.key.id, {"revoked_at": world.clock.now()})
        # The follower of the process is faster than the admission.
        await world.announcements.announce()
        customer.app.state.policy.renew(world.announcements.version)

    meanwhile(world.limiter, "admit", revoke)
    with pytest.raises(errors.CredentialError):
        await admit(customer)
    assert await customer.used() == (0, 0)
    assert customer.app.state.concurrency.taken == 0


@pytest.mark.parametrize(
    ("requests", "tokens", "refused"),
    [(0, 1000, True), (9, COUNTED - 1, True), (1, COUNTED, False)],
)
async def test_a_new_quota_holds_for_the_very_next_request(
    customer: Customer, quota: domain.Quota, requests: int, tokens: int, *, refused: bool
) -> None:
    await customer.app.state.policy.grant(customer.key.hash)
    await limit(customer.world, quota, requests_per_minute=requests, tokens_per_minute=tokens)
    if refused:
        with pytest.raises(errors.QuotaError):
            await admit(customer)
        assert await customer.used() == (0, 0)
        await limit(customer.world, quota, requests_per_minute=3, tokens_per_minute=COUNTED)
    # Greater or less.
    assert (await admit(customer)).admission.tokens_left == 0


@pytest.fixture
def reservations(world: World) -> Reservations:
    """Those of a process that lives."""
    return Reservations(world.database.spending, world.clock)


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
