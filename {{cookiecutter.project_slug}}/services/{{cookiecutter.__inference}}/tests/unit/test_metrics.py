"""What Prometheus reads."""

from uuid import uuid4

import pytest

from gateway import errors
from gateway.api.pages import METRICS
from gateway.concurrency import ConcurrencyLimit
from gateway.metrics import Metrics
from gateway.ports import Chunk

from .conftest import Customer

OPENMETRICS = "application/openmetrics-text"
# Of the stream that broke off, the bound of its prompt, which is ten, and a piece.
COUNTED = """\
gateway_requests_total{method="POST",route="/v1/chat/completions",status="200"} 3.0
gateway_requests_total{method="POST",route="/v1/chat/completions",status="400"} 1.0
gateway_requests_total{method="GET",route="/v1/models/{model:path}",status="404"} 2.0
gateway_requests_total{method="GET",route="/admin/teams/{team_id}",status="401"} 1.0
gateway_requests_total{method="other",route="",status="404"} 2.0
gateway_request_seconds_count{route="/v1/chat/completions"} 4.0
gateway_tokens_total{kind="prompt",provider="scripted"} 16.0
gateway_tokens_total{kind="completion",provider="scripted"} 5.0
gateway_failures_total{code="model_not_found"} 2.0
gateway_failures_total{code="backend_error"} 1.0
gateway_slots 4.0
gateway_slots_in_use 1.0
gateway_requests_in_flight 1.0
gateway_streams_open 0.0
gateway_dropped_connections{reason="headers"} 0.0
"""


@pytest.mark.usefixtures("lines")
async def test_requests_failures_and_tokens_are_counted_in_both_formats(customer: Customer) -> None:
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
    media_types = {"*/*": "text/plain; version=", OPENMETRICS: OPENMETRICS}
    for accept, media_type in media_types.items():
        response = await client.get(METRICS, headers={"Accept": accept})
        assert response.headers["content-type"].startswith(media_type)
        assert {*COUNTED.splitlines()} <= {*response.text.splitlines()}
    # Another application does not count with this one.
    assert b"scripted" not in Metrics(ConcurrencyLimit(1, 1)).exposition("")[0]
