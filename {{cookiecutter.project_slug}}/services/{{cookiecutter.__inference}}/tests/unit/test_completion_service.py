"""The way of a request, where no client sees it."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from structlog.typing import EventDict

from stratakit.testing import eventually

from gateway import domain, errors
from gateway.app import create_app
from gateway.completion_service import ESTIMATE, Admitted
from gateway.ports import Admission, Inference

from ..fakes.limiter import MemoryLimiter
from .conftest import OPTIONS, Customer, World

REQUEST = Inference(model="mine", prompt="Hello")
COUNTED = 30
"""Tokens: ten of the prompt, and the twenty that the alias grants."""
MANY = domain.Limits(requests=100, tokens=1000)


class BusyLimiter(MemoryLimiter):
    """Lets something happen while an admission is on its way."""

    meanwhile: Callable[[], Awaitable[None]] | None = None

    async def admit(self, team: Any, limits: domain.Limits, tokens: int) -> Admission:
        """Count as ever."""
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile:
            await meanwhile()
        return await super().admit(team, limits, tokens)


@pytest.fixture
async def quota(customer: Customer) -> domain.Quota:
    """The team's quota. It has a budget as well."""
    await customer.pay()
    return await customer.world.quota(customer.team, MANY.requests, MANY.tokens)


pytestmark = pytest.mark.usefixtures("quota")


async def admit(customer: Customer, request: Inference = REQUEST) -> Admitted:
    admitted: Admitted = await customer.app.state.completions.admit(customer.key.hash, request)
    return admitted


async def limit(world: World, quota: domain.Quota, **changes: int) -> None:
    """Change the team's quota, and tell everybody."""
    await world.database.quotas.update(quota.id, changes)
    await world.announcements.announce()


async def left(customer: Customer) -> tuple[int, int]:
    """Return how many tokens are left of the quota, and what was spent."""
    admission = await customer.world.limiter.admit(customer.team.id, MANY, 0)
    return admission.tokens_left, await customer.spent()


@pytest.mark.parametrize("n", [1, 3])
# Nothing, what is usual, and more than was asked for.
@pytest.mark.parametrize("usage", [domain.Usage(0, 0), domain.Usage(3, 2), domain.Usage(80, 2)])
async def test_what_it_may_take_at_most_is_paid_ahead_and_then_what_it_took_once(
    customer: Customer, n: int, usage: domain.Usage
) -> None:
    admitted = await admit(customer, replace(REQUEST, n=n))
    most = 10 + 20 * n
    assert await left(customer) == (MANY.tokens - most, most * 7)
    admitted.usage = usage
    for _ in range(2):
        await admitted.close()
        assert await left(customer) == (MANY.tokens - usage.total, usage.total * 7)
    assert customer.app.state.concurrency.taken == 0


async def test_tokens_that_cannot_be_settled_are_logged_and_the_budget_is_booked(
    customer: Customer, lines: list[EventDict]
) -> None:
    admitted = await admit(customer)
    await admitted.complete()
    customer.world.limiter.down = True
    await admitted.close()
    [line] = lines
    assert (line["team"], line["tokens"]) == (str(customer.team.id), -25)
    assert await customer.spent() == 5 * 7


async def test_a_budget_that_cannot_be_booked_is_booked_once_it_can(customer: Customer) -> None:
    admitted = await admit(customer)
    await admitted.complete()
    customer.world.database.down = True
    await admitted.close()
    customer.world.database.down = False
    assert await left(customer) == (MANY.tokens - 5, COUNTED * 7)
    await customer.app.state.completions.reservations.beat()
    assert await customer.spent() == 5 * 7


async def test_who_was_answered_by_a_stream_has_paid_before_its_end(customer: Customer) -> None:
    admitted = await admit(customer)
    async for chunk in admitted.stream():
        assert await customer.spent() == (5 if chunk.usage else COUNTED) * 7
    await admitted.close()
    assert await customer.spent() == 5 * 7


@pytest.mark.parametrize(
    ("tokens", "counted"), [(2000, 10 + ESTIMATE), (COUNTED, COUNTED), (11, 11)]
)
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


async def test_it_is_settled_even_if_the_request_is_cancelled_meanwhile(customer: Customer) -> None:
    admitted = await admit(customer)
    closing = asyncio.create_task(admitted.close())
    await asyncio.sleep(0)
    closing.cancel()
    await asyncio.wait([closing])
    assert closing.cancelled()
    await customer.app.state.background.drain()
    assert await customer.spent() == 0


async def test_a_key_revoked_meanwhile_costs_nothing(customer: Customer, world: World) -> None:
    async def revoke() -> None:
        await world.database.keys.update(customer.key.id, {"revoked_at": world.clock.now()})
        # The follower of the process is faster than the admission.
        await world.announcements.announce()
        app.state.policy.renew(world.announcements.version)

    busy = world.limiter = BusyLimiter(world.clock, world.announcements)
    busy.meanwhile = revoke
    app = create_app(world.ports, OPTIONS)
    with pytest.raises(errors.CredentialError):
        await app.state.completions.admit(customer.key.hash, REQUEST)
    assert await left(customer) == (MANY.tokens, 0)
    assert app.state.concurrency.taken == 0


@pytest.mark.parametrize(
    ("requests", "tokens", "refused"),
    [(0, 1000, True), (9, COUNTED - 1, True), (1, COUNTED, False)],
)
async def test_a_new_quota_holds_for_the_very_next_request(
    customer: Customer, quota: domain.Quota, requests: int, tokens: int, *, refused: bool
) -> None:
    await customer.app.state.policy.grant(customer.key.hash)
    changes = {"requests_per_minute": requests, "tokens_per_minute": tokens}
    await limit(customer.world, quota, **changes)
    if refused:
        with pytest.raises(errors.QuotaError):
            await admit(customer)
        assert await left(customer) == (MANY.tokens, 0)
        await limit(customer.world, quota, requests_per_minute=3, tokens_per_minute=COUNTED)
    # Greater or less.
    assert (await admit(customer)).admission.tokens_left == 0


async def test_all_slots_are_free_after_many_requests_at_once(customer: Customer) -> None:
    app = create_app(customer.world.ports, OPTIONS.model_copy(update={"max_concurrency": 3}))
    waits = customer.world.backend.waits
    waits.clear()

    async def ask() -> None:
        admitted = await app.state.completions.admit(customer.key.hash, REQUEST)
        try:
            await admitted.complete()
        finally:
            await admitted.close()

    asking = [asyncio.create_task(ask()) for _ in range(5)]
    await eventually(lambda: app.state.concurrency.taken == 3)
    asking[0].cancel()
    waits.set()
    ended = await asyncio.gather(*asking, return_exceptions=True)
    assert sum(isinstance(end, errors.OverloadedError) for end in ended) == 2
    assert app.state.concurrency.taken == 0
    await app.state.background.drain()
    # Of the one that was cancelled, the prompt.
    assert await customer.spent() == (2 * 5 + 10) * 7
