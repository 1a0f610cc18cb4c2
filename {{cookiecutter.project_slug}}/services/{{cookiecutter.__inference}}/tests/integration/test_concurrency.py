"""Concurrent requests: no limit is exceeded, no response is lost, and memory does not grow."""

import asyncio
from collections import Counter
from typing import Any

import psutil
import pytest
from httpx2 import AsyncClient

from stratakit.testing import Service

from .people import CHAT, Connect, Team, chat, configured, created

MANY = 60
GROWTH = 8 * 2**20
"""Bytes by which a process may grow in some hundreds of requests: allocators keep some."""


async def statuses(client: AsyncClient, times: int = MANY, **more: Any) -> Counter[int]:
    """Send concurrent requests, and return the number of responses by status."""
    answers = await asyncio.gather(*(client.post(CHAT, json=chat(**more)) for _ in range(times)))
    return Counter(answer.status_code for answer in answers)


@pytest.mark.parametrize(
    ("requests", "tokens", "passed"),
    [(1, 10**6, 1), (20, 10**6, 20), (10**6, 10**6, MANY), (10**6, 100, 10)],
)
async def test_concurrent_requests_are_admitted_exactly_up_to_the_quota(
    admin: AsyncClient, client: AsyncClient, team: Team, requests: int, tokens: int, passed: int
) -> None:
    quota = {"requests_per_minute": requests, "tokens_per_minute": tokens}
    await created(admin, "quotas", team_id=team.id, **quota)
    # Each request takes ten tokens.
    answered = await statuses(client, content="one two three four five", max_tokens=5)
    assert answered == Counter({200: passed, 429: MANY - passed})


async def test_the_budget_is_never_exceeded(admin: AsyncClient, connect: Connect) -> None:
    team = await Team.make(admin, budget_cents=40)
    client = connect(team.key)
    # A token costs a cent: 2 for the prompt and 2 for the completion.
    async with configured(admin, prices={"echo": 1_000_000}):
        assert await statuses(client, max_tokens=2) == {200: 10, 429: MANY - 10}
    assert (await admin.get(f"/admin/teams/{team.id}")).json()["spent_cents"] == 40


async def test_memory_does_not_grow_with_requests(client: AsyncClient, service: Service) -> None:
    process = psutil.Process(service.process.pid)
    # Warm up: fill caches and connection pools.
    assert await statuses(client, 5 * MANY) == {200: 5 * MANY}
    before = process.memory_info().rss
    for _ in range(5):
        assert await statuses(client) == {200: MANY}
    assert process.memory_info().rss - before < GROWTH
