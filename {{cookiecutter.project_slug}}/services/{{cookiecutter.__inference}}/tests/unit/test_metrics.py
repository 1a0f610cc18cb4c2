"""What Prometheus reads."""

from uuid import uuid4

import httpx2
import pytest
from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families

from gateway import domain, errors
from gateway.api.metrics import PATH
from gateway.ports import Chunk

from .conftest import OPTIONS, World
from .test_completions import CHAT, post

pytestmark = pytest.mark.usefixtures("key", "alias")


async def value(client: httpx2.AsyncClient, name: str, **labels: str) -> float | None:
    """Return the value of a sample, or None if there is none."""
    text = (await client.get(PATH)).text
    samples = [s for family in text_string_to_metric_families(text) for s in family.samples]
    found = (s.value for s in samples if s.name == name and labels.items() <= s.labels.items())
    return next(found, None)


async def test_they_are_text_for_prometheus(client: httpx2.AsyncClient) -> None:
    response = await client.get(PATH)
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain; version=")


async def test_they_are_openmetrics_for_those_who_ask(client: httpx2.AsyncClient) -> None:
    response = await client.get(PATH, headers={"Accept": "application/openmetrics-text"})
    assert response.headers["content-type"].startswith("application/openmetrics-text")
    assert response.text.endswith("# EOF\n")


async def test_requests_are_counted_by_route_method_and_status(client: httpx2.AsyncClient) -> None:
    await post(client)
    await post(client, n=0)
    await client.get("/v1/models/a")
    await client.get("/v1/models/b")
    total = "gateway_requests_total"
    assert await value(client, total, route=CHAT, method="POST", status="200") == 1
    assert await value(client, total, route=CHAT, method="POST", status="400") == 1
    assert await value(client, total, route="/v1/models/{model:path}", status="404") == 2
    await client.get("/admin/teams/a")
    assert await value(client, total, route="/admin/teams/{team_id}", status="401") == 1
    assert await value(client, "gateway_request_seconds_count", route=CHAT) == 2


async def test_what_clients_invent_makes_no_series(client: httpx2.AsyncClient) -> None:
    for number in range(2):
        await client.request(f"METHOD{number}", f"/path/{number}")
    assert await value(client, "gateway_requests_total", route="", method="other") == 2


async def test_tokens_are_counted_by_provider(client: httpx2.AsyncClient) -> None:
    await post(client)
    await post(client, stream=True)
    total = "gateway_tokens_total"
    assert await value(client, total, provider="scripted", kind="prompt") == 6
    assert await value(client, total, provider="scripted", kind="completion") == 4


@pytest.mark.usefixtures("lines")
async def test_failures_are_counted_by_their_code(client: httpx2.AsyncClient, world: World) -> None:
    await post(client, model="theirs")
    world.backend.script = [Chunk("one"), errors.BackendError("scripted", "the answer broke off")]
    await post(client, stream=True)
    assert await value(client, "gateway_failures_total", code="model_not_found") == 1
    assert await value(client, "gateway_failures_total", code="backend_error") == 1


async def test_slots_and_requests_are_gauges(client: httpx2.AsyncClient, app: FastAPI) -> None:
    app.state.concurrency.take(uuid4())
    assert await value(client, "gateway_slots") == OPTIONS.max_concurrency
    assert await value(client, "gateway_slots_in_use") == 1
    assert await value(client, "gateway_requests_in_flight") == 1
    assert await value(client, "gateway_streams_open") == 0
    assert await value(client, "gateway_dropped_connections", reason="headers") == 0


def test_two_applications_do_not_count_together(app: FastAPI, world: World) -> None:
    from gateway.concurrency import ConcurrencyLimit
    from gateway.metrics import Metrics

    Metrics(ConcurrencyLimit(1, 1)).used("echo", domain.Usage(1, 1))
    assert b"echo" not in app.state.metrics.exposition("")[0]
