"""The way of a request, where no client sees it."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from fastapi import FastAPI
from structlog.typing import EventDict

from stratakit.testing import eventually

from gateway import domain, errors
from gateway.accounts import Keys
from gateway.app import create_app
from gateway.completion_service import ESTIMATE, Admitted, CompletionService
from gateway.ports import Admission, Inference

from ..fakes.limiter import MemoryLimiter
from .conftest import OPTIONS, SECRET, World
from .test_completions import pay, quota, spent

pytestmark = pytest.mark.usefixtures("alias")

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
async def key_hash(world: World, team: domain.Team) -> str:
    """A key of a team with a quota and a budget."""
    key, _ = await world.key(team)
    await quota(world, team, MANY.requests, MANY.tokens)
    await pay(world, team)
    return Keys(SECRET).hash(key)


@pytest.fixture
def service(app: FastAPI) -> CompletionService:
    """What is tested."""
    found: CompletionService = app.state.completions
    return found


async def limit(world: World, **changes: int) -> None:
    """Change the team's quota, and tell everybody."""
    [kept] = await world.database.quotas.page(limit=1)
    await world.database.quotas.update(kept.id, changes)
    await world.announcements.announce()


async def left(world: World, team: domain.Team) -> tuple[int, int]:
    """Return how many tokens are left of the quota, and what was spent."""
    return (await world.limiter.admit(team.id, MANY, 0)).tokens_left, await spent(world, team)


@pytest.mark.parametrize("n", [1, 3])
# Nothing, what is usual, and more than was asked for.
@pytest.mark.parametrize("usage", [domain.Usage(0, 0), domain.Usage(3, 2), domain.Usage(80, 2)])
async def test_what_it_may_take_at_most_is_paid_ahead_and_then_what_it_took_once(
    service: CompletionService,
    app: FastAPI,
    world: World,
    team: domain.Team,
    key_hash: str,
    n: int,
    usage: domain.Usage,
) -> None:
    admitted = await service.admit(key_hash, replace(REQUEST, n=n))
    most = 10 + 20 * n
    assert await left(world, team) == (MANY.tokens - most, most * 7)
    admitted.usage = usage
    for _ in range(2):
        await admitted.close()
        assert await left(world, team) == (MANY.tokens - usage.total, usage.total * 7)
    assert app.state.concurrency.taken == 0


async def test_tokens_that_cannot_be_settled_are_logged_and_the_budget_is_booked(
    service: CompletionService,
    world: World,
    team: domain.Team,
    key_hash: str,
    lines: list[EventDict],
) -> None:
    admitted = await service.admit(key_hash, REQUEST)
    await admitted.complete()
    world.limiter.down = True
    await admitted.close()
    [line] = lines
    assert (line["team"], line["tokens"]) == (str(team.id), -25)
    assert await spent(world, team) == 5 * 7


async def test_a_budget_that_cannot_be_booked_is_booked_as_soon_as_it_can(
    service: CompletionService, world: World, team: domain.Team, key_hash: str
) -> None:
    admitted = await service.admit(key_hash, REQUEST)
    await admitted.complete()
    world.database.down = True
    await admitted.close()
    world.database.down = False
    assert await left(world, team) == (MANY.tokens - 5, COUNTED * 7)
    await service.reservations.beat()
    assert await spent(world, team) == 5 * 7


async def test_who_was_answered_by_a_stream_has_paid_before_its_end(
    service: CompletionService, world: World, team: domain.Team, key_hash: str
) -> None:
    admitted = await service.admit(key_hash, REQUEST)
    async for chunk in admitted.stream():
        assert await spent(world, team) == (5 if chunk.usage else COUNTED) * 7
    await admitted.close()
    assert await spent(world, team) == 5 * 7


@pytest.mark.parametrize(
    ("tokens", "counted"), [(2000, 10 + ESTIMATE), (COUNTED, COUNTED), (11, 11)]
)
async def test_of_an_answer_without_a_limit_no_more_is_set_aside_than_the_quota_has(
    service: CompletionService,
    world: World,
    team: domain.Team,
    key_hash: str,
    alias: domain.ModelAlias,
    tokens: int,
    counted: int,
) -> None:
    await world.database.aliases.update(alias.id, {"parameters": {}})
    await limit(world, tokens_per_minute=tokens)
    admitted = await service.admit(key_hash, REQUEST)
    assert admitted.request.inference.max_tokens is None
    assert (admitted.tokens, await spent(world, team)) == (counted, counted * 7)
    # However much it takes.
    admitted.usage = domain.Usage(10, 3 * ESTIMATE)
    await admitted.close()
    assert await spent(world, team) == (10 + 3 * ESTIMATE) * 7


async def test_it_is_settled_even_if_the_request_is_cancelled_meanwhile(
    service: CompletionService, app: FastAPI, world: World, team: domain.Team, key_hash: str
) -> None:
    admitted = await service.admit(key_hash, REQUEST)
    closing = asyncio.create_task(admitted.close())
    await asyncio.sleep(0)
    closing.cancel()
    await asyncio.wait([closing])
    assert closing.cancelled()
    await app.state.background.drain()
    assert await spent(world, team) == 0


async def test_a_key_that_is_revoked_while_it_is_counted_is_refused_and_costs_nothing(
    world: World, team: domain.Team, key_hash: str
) -> None:
    async def revoke() -> None:
        key = (await world.database.grant(key_hash)).key
        await world.database.keys.update(key.id, {"revoked_at": world.clock.now()})
        # The follower of the process is faster than the admission.
        await world.announcements.announce()
        app.state.policy.renew(world.announcements.version)

    busy = world.limiter = BusyLimiter(world.clock, world.announcements)
    busy.meanwhile = revoke
    app = create_app(world.ports, OPTIONS)
    with pytest.raises(errors.CredentialError):
        await app.state.completions.admit(key_hash, REQUEST)
    assert await left(world, team) == (MANY.tokens, 0)
    assert app.state.concurrency.taken == 0


@pytest.mark.parametrize(
    ("requests", "tokens", "refused"),
    [(0, 1000, True), (9, COUNTED - 1, True), (1, COUNTED, False)],
)
async def test_a_new_quota_holds_for_the_very_next_request(
    service: CompletionService,
    app: FastAPI,
    world: World,
    team: domain.Team,
    key_hash: str,
    requests: int,
    tokens: int,
    *,
    refused: bool,
) -> None:
    await app.state.policy.grant(key_hash)
    await limit(world, requests_per_minute=requests, tokens_per_minute=tokens)
    if refused:
        with pytest.raises(errors.QuotaError):
            await service.admit(key_hash, REQUEST)
        assert await left(world, team) == (MANY.tokens, 0)
        await limit(world, requests_per_minute=3, tokens_per_minute=COUNTED)
    # Greater or less.
    admitted = await service.admit(key_hash, REQUEST)
    assert admitted.admission.tokens_left == 0


async def test_all_slots_are_free_after_many_requests_at_once(
    world: World, team: domain.Team, key_hash: str
) -> None:
    app = create_app(world.ports, OPTIONS.model_copy(update={"max_concurrency": 3}))
    world.backend.waits.clear()

    async def ask() -> Admitted:
        admitted: Admitted = await app.state.completions.admit(key_hash, REQUEST)
        try:
            await admitted.complete()
        finally:
            await admitted.close()
        return admitted

    asking = [asyncio.create_task(ask()) for _ in range(5)]
    await eventually(lambda: app.state.concurrency.taken == 3)
    asking[0].cancel()
    world.backend.waits.set()
    ended = await asyncio.gather(*asking, return_exceptions=True)
    assert sum(isinstance(end, errors.OverloadedError) for end in ended) == 2
    assert app.state.concurrency.taken == 0
    await app.state.background.drain()
    # Of the one that was cancelled, the prompt.
    assert await spent(world, team) == (2 * 5 + 10) * 7
