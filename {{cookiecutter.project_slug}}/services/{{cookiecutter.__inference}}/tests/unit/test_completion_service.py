"""Admission, charges and budget reservations of completion requests."""

import asyncio
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from functools import partial

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
"""Tokens of a request: ten for the prompt, and the alias's limit of twenty."""


@pytest.fixture(autouse=True)
async def quota(customer: Customer) -> domain.Quota:
    """The quota of a team that also has a budget."""
    await customer.pay()
    return await customer.world.quota(customer.team, 100, 1000)


async def admit(customer: Customer, request: Inference = REQUEST) -> Admitted:
    admitted: Admitted = await customer.app.state.completions.admit(customer.key.hash, request)
    return admitted


async def limit(world: World, quota: domain.Quota, **changes: int) -> None:
    """Change the team's quota, and announce it."""
    await world.database.quotas.update(quota.id, changes)
    await world.limiter.announce()


@pytest.mark.parametrize("n", [1, 3])
# No usage, an ordinary one, and more than was reserved.
@pytest.mark.parametrize("usage", [domain.Usage(0, 0), domain.Usage(3, 2), domain.Usage(80, 2)])
async def test_the_maximum_is_reserved_first_and_then_the_usage_is_charged_once(
    customer: Customer, n: int, usage: domain.Usage
) -> None:
    admitted = await admit(customer, replace(REQUEST, n=n))
    most = 10 + 20 * n
    assert await customer.used() == (most, most * 7)
    admitted.usage = usage
    await admitted.close()
    assert await customer.used() == (usage.total, usage.total * 7)
    assert customer.app.state.completions.concurrency.taken == 0


async def test_a_stream_is_charged_before_its_last_chunk(customer: Customer) -> None:
    admitted = await admit(customer)
    async for chunk in admitted.stream():
        assert await customer.spent() == (5 if chunk.usage else COUNTED) * 7
    await admitted.close()
    assert await customer.spent() == 5 * 7


@pytest.mark.parametrize(("tokens", "counted"), [(2000, 10 + ESTIMATE), (30, 30), (11, 11)])
async def test_without_max_tokens_no_more_is_reserved_than_the_quota_allows(
    customer: Customer, quota: domain.Quota, tokens: int, counted: int
) -> None:
    await customer.set_parameters()
    await limit(customer.world, quota, tokens_per_minute=tokens)
    admitted = await admit(customer)
    assert admitted.request.inference.max_tokens is None
    assert (admitted.tokens, await customer.spent()) == (counted, counted * 7)
    # The charge is not capped.
    admitted.usage = domain.Usage(10, 3 * ESTIMATE)
    await admitted.close()
    assert await customer.spent() == (10 + 3 * ESTIMATE) * 7


async def test_a_key_revoked_at_admission_costs_nothing(customer: Customer, world: World) -> None:
    async def revoke() -> None:
        await world.database.keys.update(customer.key.id, {"revoked_at": world.clock.now()})
        # Another request sees the change before this one is admitted.
        customer.app.state.completions.policy.renew(await world.limiter.announce())

    meanwhile(world.limiter, "admit", revoke)
    with pytest.raises(errors.CredentialError):
        await admit(customer)
    assert await customer.used() == (0, 0)
    assert customer.app.state.completions.concurrency.taken == 0


@pytest.mark.parametrize(
    ("requests", "tokens", "refused"),
    [(0, 1000, True), (9, COUNTED - 1, True), (1, COUNTED, False)],
)
async def test_a_new_quota_applies_to_the_next_request(
    customer: Customer, quota: domain.Quota, requests: int, tokens: int, *, refused: bool
) -> None:
    await customer.app.state.completions.policy.grant(customer.key.hash)
    await limit(customer.world, quota, requests_per_minute=requests, tokens_per_minute=tokens)
    if refused:
        with pytest.raises(errors.QuotaError):
            await admit(customer)
        assert await customer.used() == (0, 0)
        await limit(customer.world, quota, requests_per_minute=3, tokens_per_minute=COUNTED)
    # Whether the quota was raised or lowered.
    assert (await admit(customer)).admission.tokens_left == 0


async def test_a_request_is_admitted_although_something_changes_all_the_time(
    customer: Customer, world: World
) -> None:
    meanwhile(world.limiter, "admit", world.limiter.announce)
    await (await admit(customer)).close()
    assert await customer.used() == (0, 0)


async def test_a_refusal_does_not_outlast_the_change_of_its_reason(
    customer: Customer, world: World
) -> None:
    soon = {"expires_at": world.clock.now() + timedelta(seconds=1)}
    await world.database.keys.update(customer.key.id, soon)
    with pytest.raises(errors.UnknownModelError):
        await admit(customer, replace(REQUEST, model="new"))
    world.clock.advance(1)
    with pytest.raises(errors.CredentialError):
        await admit(customer)
    # Another process makes these changes.
    await world.database.keys.update(customer.key.id, {"expires_at": None})
    await world.database.aliases.update(customer.alias.id, {"alias": "new"})
    await world.limiter.announce()
    await admit(customer, replace(REQUEST, model="new"))
    world.limiter.down = True
    with pytest.raises(errors.UnavailableError):
        await admit(customer, replace(REQUEST, model="newer"))


async def test_a_change_that_another_request_notices_first_applies_to_this_one_as_well(
    customer: Customer, world: World
) -> None:
    policy = customer.app.state.completions.policy

    async def change() -> None:
        await world.database.aliases.update(customer.alias.id, {"alias": "new"})
        policy.renew(await world.limiter.announce())

    await policy.route(customer.team.id, "mine")
    # The aliases are cached, the config is not.
    meanwhile(world.database, "config", change)
    await admit(customer, replace(REQUEST, model="new"))


async def test_a_new_config_applies_to_the_next_request(customer: Customer, world: World) -> None:
    await customer.set_parameters()
    for most in (7, 8, 9):
        await world.configure(max_tokens=most, prices={"real": most})
        admitted = await admit(customer)
        assert (admitted.request.inference.max_tokens, admitted.request.price) == (most, most)
        await admitted.close()


@pytest.fixture
def reservations(world: World) -> Reservations:
    """The reservations of a running process."""
    return Reservations(world.database, world.clock)


async def test_reservations_of_a_killed_process_are_given_back_within_a_minute(
    customer: Customer, world: World, reservations: Reservations
) -> None:
    await Reservations(world.database, world.clock).reserve(customer.team.id, 400_000)
    await reservations.reserve(customer.team.id, 300_000)
    for number in range(5):
        await reservations.beat()
        assert await customer.spent() == (700_000 if number * BEAT <= TTL else 300_000)
        world.clock.advance(BEAT)


@pytest.mark.parametrize("error", [errors.UnavailableError("postgres"), RuntimeError()])
async def test_a_failed_heartbeat_is_logged_and_the_next_one_runs(
    customer: Customer, reservations: Reservations, lines: list[EventDict], error: Exception
) -> None:
    world, due = customer.world, [error]

    async def fail_once() -> None:
        if due:
            raise due.pop()

    await Reservations(world.database, world.clock).reserve(customer.team.id, 5)
    world.clock.advance(2 * TTL)
    meanwhile(world.database, "renew", fail_once)
    running = asyncio.create_task(reservations.run())
    await eventually(lambda: lines)
    level = "error" if isinstance(error, RuntimeError) else "warning"
    assert [(line["event"], line["log_level"]) for line in lines] == [("not renewed", level)]
    world.clock.advance(BEAT)
    await eventually(lambda: len(lines) == 2)
    assert await customer.spent() == 0
    running.cancel()


async def test_a_reservation_whose_response_was_lost_is_given_back_by_the_next_heartbeat(
    customer: Customer, world: World, reservations: Reservations
) -> None:
    async def lose() -> None:
        raise errors.UnavailableError("postgres")

    meanwhile(world.database, "reserve", lose, after=True)
    with pytest.raises(errors.UnavailableError):
        await reservations.reserve(customer.team.id, 5)
    assert await customer.spent() == 5
    await reservations.beat()
    assert await customer.spent() == 0


async def test_a_failed_charge_is_made_by_the_next_heartbeat_reservation_or_shutdown(
    customer: Customer, world: World, reservations: Reservations, lines: list[EventDict]
) -> None:
    another = partial(reservations.reserve, customer.team.id, 0)
    for retry in (reservations.beat, another, reservations.end):
        reservation = await reservations.reserve(customer.team.id, 5)
        before = await customer.spent()
        world.database.down = True
        await reservations.settle(reservation, 3)
        with suppress(errors.UnavailableError):
            await retry()
        world.database.down = False
        assert await customer.spent() == before
        await retry()
        assert await customer.spent() == before - 2
    told = [(line["event"], line["microcents"]) for line in lines]
    assert told == [*[("not booked yet", 3)] * 3, ("not booked", 3)]
