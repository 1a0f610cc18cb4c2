"""Latencies of a test's requests."""

import httpx2
import pytest
from stratakit.testing import latencies, timed


@pytest.fixture(autouse=True)
def fresh() -> None:
    latencies.take()


async def test_each_request_of_a_timed_client_counts_once() -> None:
    seen: list[httpx2.Request] = []

    async def own(request: httpx2.Request) -> None:
        seen.append(request)

    transport = httpx2.MockTransport(lambda _: httpx2.Response(204))
    client = httpx2.AsyncClient(transport=transport, event_hooks={"request": [own]})
    async with timed(client):
        for _ in range(3):
            await client.get("http://service/")
    taken = latencies.take()
    assert taken.keys() == {"requests", "p50_ms", "p95_ms", "p99_ms"}
    assert taken["requests"] == len(seen) == 3
    assert 0 < taken["p50_ms"] <= taken["p95_ms"] <= taken["p99_ms"]
    assert latencies.take() == {}


@pytest.mark.parametrize(
    ("count", "percentiles"),
    [(1, (1, 1, 1)), (2, (1, 2, 2)), (100, (50, 95, 99)), (1000, (500, 950, 990))],
)
def test_percentiles_use_the_nearest_rank(count: int, percentiles: tuple[int, int, int]) -> None:
    assert latencies.percentiles([n / 1000 for n in range(count, 0, -1)]) == dict(
        zip(("p50_ms", "p95_ms", "p99_ms"), percentiles, strict=True)
    )
