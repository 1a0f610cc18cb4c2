"""What Prometheus reads."""

from uuid import uuid4

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway import errors
from gateway.api.pages import METRICS
from gateway.concurrency import ConcurrencyLimit
from gateway.metrics import Metrics
from gateway.ports import Chunk

from .conftest import CHAT, OPTIONS, Customer

OPENMETRICS = "application/openmetrics-text"
MODEL, TEAM = "/v1/models/{model:path}", "/admin/teams/{team_id}"


async def samples(client: httpx2.AsyncClient) -> dict[tuple[str, ...], float]:
    """Return the value of each, by its name and its labels."""
    families = text_string_to_metric_families((await client.get(METRICS)).text)
    found = [sample for family in families for sample in family.samples]
    return {
        (sample.name.removeprefix("gateway_"), *sorted(sample.labels.values())): sample.value
        for sample in found
    }


async def test_they_are_text_or_openmetrics_for_those_who_ask(customer: Customer) -> None:
    media_types = {"*/*": "text/plain; version=", OPENMETRICS: OPENMETRICS}
    for accept, media_type in media_types.items():
        response = await customer.client.get(METRICS, headers={"Accept": accept})
        assert response.status_code == 200
        assert response.headers["content-type"].startswith(media_type)


@pytest.mark.usefixtures("lines")
async def test_requests_failures_and_tokens_are_counted(customer: Customer) -> None:
    client = customer.client
    await customer.post()
    await customer.post(n=0)
    for path in ("/v1/models/a", "/v1/models/b", "/admin/teams/a"):
        await client.get(path)
    await customer.post(stream=True)
    # What clients invent makes no series.
    for number in range(2):
        await client.request(f"METHOD{number}", f"/path/{number}")
    broken = errors.BackendError("scripted", "the answer broke off")
    customer.world.backend.script = [Chunk("one"), broken]
    await customer.post(stream=True)
    customer.app.state.concurrency.take(uuid4())
    found = await samples(client)
    expected = {
        ("requests_total", CHAT, "200", "POST"): 3,
        ("requests_total", "400", CHAT, "POST"): 1,
        ("requests_total", "404", MODEL, "GET"): 2,
        ("requests_total", "401", TEAM, "GET"): 1,
        ("requests_total", "", "404", "other"): 2,
        ("request_seconds_count", CHAT): 4,
        # Of the stream that broke off, the bound of its prompt and a piece.
        ("tokens_total", "prompt", "scripted"): 3 + 3 + 10,
        ("tokens_total", "completion", "scripted"): 2 + 2 + 1,
        ("failures_total", "model_not_found"): 2,
        ("failures_total", "backend_error"): 1,
        ("slots",): OPTIONS.max_concurrency,
        ("slots_in_use",): 1,
        ("requests_in_flight",): 1,
        ("streams_open",): 0,
        ("dropped_connections", "headers"): 0,
    }
    assert {(name, *sorted(labels)): n for (name, *labels), n in expected.items()}.items() <= (
        found.items()
    )
    # Another application does not count with this one.
    assert b"scripted" not in Metrics(ConcurrencyLimit(1, 1)).exposition("")[0]
