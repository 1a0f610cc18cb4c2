"""The application as a whole: its start and its end, its lines in the log, its metrics."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import httpx2
import pytest
from structlog.typing import EventDict

from stratakit.testing import eventually

from gateway import errors
from gateway.api.models import PATH
from gateway.api.pages import METRICS
from gateway.app import create_app
from gateway.concurrency import ConcurrencyLimit
from gateway.metrics import Metrics
from gateway.ports import Chunk, Inference

from .conftest import ADMIN_TOKEN, OPTIONS, Customer, World

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


async def test_while_it_lives_it_takes_over_what_is_published(world: World) -> None:
    app = create_app(world.ports, OPTIONS)
    async with app.router.lifespan_context(app):
        before = await app.state.policy.config()
        published = await world.configure(max_tokens=7)
        assert before != published

        async def known() -> bool:
            return bool(await app.state.policy.config() == published)

        await eventually(known)


async def test_at_its_end_all_is_settled_before_anything_is_closed(customer: Customer) -> None:
    ended = []

    @asynccontextmanager
    async def around() -> AsyncIterator[None]:
        yield
        ended.append(await customer.spent())

    await customer.pay()
    app = create_app(customer.world.ports, OPTIONS, around=around())
    request = Inference(model="mine", prompt="")
    async with app.router.lifespan_context(app):
        admitted = await app.state.completions.admit(customer.key.hash, request)
        closing = asyncio.create_task(admitted.close())
        await asyncio.sleep(0)  # It has begun to settle.
        closing.cancel()
    assert ended == [0]


async def test_the_line_of_a_request_says_who_asked_and_that_of_a_probe_is_for_debugging(
    customer: Customer, client: httpx2.AsyncClient, lines: list[EventDict]
) -> None:
    key = client.headers["Authorization"]
    for credential in (key, "Bearer sk-strange", f"Bearer {ADMIN_TOKEN}"):
        path = "/admin/teams" if ADMIN_TOKEN in credential else PATH
        await client.get(path, headers={"Authorization": credential})
    for path in ("/health/ready", "/metrics"):
        await client.get(path)
    who = ("team", "key", "user")
    known = [{name: line[name] for name in who if name in line} for line in lines]
    mine = {"team": str(customer.team.id), "key": customer.key.prefix}
    assert known == [mine, {}, {"user": "administrator"}, {}, {}]
    assert [line["log_level"] for line in lines] == [*["info"] * 3, *["debug"] * 2]
    assert key.removeprefix("Bearer ") not in str(lines)


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
