"""Concurrent requests: no limit is exceeded, no response is lost, and memory does not grow."""

import asyncio
from collections import Counter
from typing import Any

import psutil
import pytest
from httpx2 import AsyncClient

from stratakit.testing import Service

from .people import CHAT, Connect, Team, chat, configured, created

MANY, PLENTY = 60, 1_000_000
GROWTH = 8 * 2**20
"""Bytes by which a process may grow in some hundreds of requests: allocators keep some."""


async def statuses(client: AsyncClient, times: int = MANY, **more: Any) -> Counter[int]:
    """Send concurrent requests, and return the number of responses by status."""
    answers = await asyncio.gather(*(client.post(CHAT, json=chat(**more)) for _ in range(times)))
    return Counter(answer.status_code for answer in answers)


@pytest.mark.parametrize(
    ("requests", "tokens", "cents", "passed"),
    [
        (20, PLENTY, PLENTY, 20),
        (PLENTY, 100, PLENTY, 10),
        (PLENTY, PLENTY, 150, 15),
        (PLENTY, PLENTY, PLENTY, MANY),
    ],
)
async def test_concurrent_requests_pass_exactly_up_to_the_quota_and_the_budget(
    admin: AsyncClient, connect: Connect, requests: int, tokens: int, cents: int, passed: int
) -> None:
    team = await Team.make(admin, budget_cents=cents)
    quota = {"requests_per_minute": requests, "tokens_per_minute": tokens}
    await created(admin, "quotas", team_id=team.id, **quota)
    # Each request takes ten tokens, which cost a cent each.
    async with configured(admin, prices={"echo": 1_000_000}):
        content = "one two three four five"
        answered = await statuses(connect(team.key), content=content, max_tokens=5)
    assert answered == Counter({200: passed, 429: MANY - passed})
    assert (await admin.get(f"/admin/teams/{team.id}")).json()["spent_cents"] == 10 * passed


async def test_memory_does_not_grow_with_requests(client: AsyncClient, service: Service) -> None:
    process = psutil.Process(service.process.pid)
    # Warm up: fill caches and connection pools.
    assert await statuses(client, 5 * MANY) == {200: 5 * MANY}
    before = process.memory_info().rss
    for _ in range(5):
        assert await statuses(client) == {200: MANY}
    assert process.memory_info().rss - before < GROWTH
