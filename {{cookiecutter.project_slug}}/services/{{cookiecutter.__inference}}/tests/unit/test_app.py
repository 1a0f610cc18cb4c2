"""The application as a whole: startup, shutdown, access log, metrics, API docs, its own errors."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import httpx2
import pytest
from fastapi import FastAPI
from prometheus_client import generate_latest
from structlog.typing import EventDict

from servicebase import errors as kit

from gateway import errors
from gateway.api import error_handlers
from gateway.api.models import PATH
from gateway.api.pages import METRICS
from gateway.api.schemas.completions import ChatRequest, CompletionRequest
from gateway.app import create_app
from gateway.metrics import Metrics
from gateway.ports import Chunk, Inference

from .conftest import ADMIN_TOKEN, BODIES, OPTIONS, TEXT, Customer, meanwhile, refusal

OPENMETRICS = "application/openmetrics-text"
# A stream that broke off counts the bound of its prompt, which is ten, and its chunk.
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


async def test_shutdown_settles_requests_before_it_closes_anything(customer: Customer) -> None:
    ended = []

    @asynccontextmanager
    async def around() -> AsyncIterator[None]:
        yield
        ended.append(await customer.spent())

    async def cancelled() -> None:
        begun.clear()
        closing = asyncio.create_task(admitted.pop().close())
        await begun.wait()
        closing.cancel()
        await asyncio.wait([closing])

    async def charge() -> None:
        begun.set()
        await asyncio.sleep(0)
        if stopping and admitted:
            # Another request ends after its turn.
            await cancelled()

    await customer.pay()
    app = create_app(customer.world.ports, OPTIONS, around=around())
    request, begun, stopping = Inference(model="mine", prompt=""), asyncio.Event(), False
    async with app.router.lifespan_context(app):
        service = app.state.completions
        admitted = [await service.admit(customer.key.hash, request) for _ in range(2)]
        meanwhile(customer.world.database, "settle", charge)
        await cancelled()
        assert await customer.spent() == 2 * 30 * 7
        stopping = True
    assert ended == [0]


async def test_access_log_lines_name_the_caller_and_those_of_probes_are_debug(
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
async def test_metrics_count_requests_errors_and_tokens_in_both_formats(customer: Customer) -> None:
    client = customer.client
    await customer.post()
    await customer.post(n=0)
    for path in ("/v1/models/a", "/v1/models/b", "/admin/teams/a"):
        await client.get(path)
    await customer.post(stream=True)
    # Unknown methods and paths do not create series.
    for number in range(2):
        await client.request(f"METHOD{number}", f"/path/{number}")
    broken = errors.BackendError("scripted", "the answer broke off")
    customer.world.backend.script = [Chunk("one"), broken]
    await customer.post(stream=True)
    customer.app.state.completions.concurrency.take(uuid4())
    media_types = {"*/*": "text/plain; version=", OPENMETRICS: OPENMETRICS}
    for accept, media_type in media_types.items():
        response = await client.get(METRICS, headers={"Accept": accept})
        assert response.headers["content-type"].startswith(media_type)
        assert {*COUNTED.splitlines()} <= {*response.text.splitlines()}
    # Applications do not share metrics.
    assert b"scripted" not in generate_latest(Metrics(1, int).registry)


def test_every_error_has_a_response() -> None:
    ours, theirs = (
        {each for each in vars(module).values() if str(each).endswith("Error'>")}
        for module in (errors, kit)
    )
    assert ours - {errors.ServiceError} == error_handlers.ANSWERS.keys()
    # None of the kit's is missing, except for idempotency keys, which the gateway does not use.
    assert theirs - ours == {kit.KeyReusedError}


@pytest.mark.usefixtures("lines")
async def test_errors_outside_of_routes_have_the_common_shape_and_hide_their_cause(
    app: FastAPI, client: httpx2.AsyncClient
) -> None:
    @app.get("/crash")
    def crash() -> None:
        raise RuntimeError("password=secret")

    unknown = await client.get("/nothing")
    wrong = await client.put("/admin/teams")
    crashed = await client.get("/crash")
    assert refusal(unknown) == (404, None, "not_found")
    assert refusal(wrong) == (405, None, "method_not_allowed")
    assert refusal(crashed) == (500, None, "internal_server_error")
    types = [each.json()["error"]["type"] for each in (unknown, wrong, crashed)]
    assert types == ["invalid_request_error", "invalid_request_error", "server_error"]
    assert wrong.headers["allow"] == "GET, POST"
    assert crashed.headers["x-request-id"]
    assert "secret" not in crashed.text


LOGIN = "/auth/login"
ANN = {"email": "ann@example.org", "password": "not hers, whoever she is"}


@pytest.mark.parametrize("type_", [None, "text/plain", "application/x-www-form-urlencoded"])
async def test_only_accounts_check_the_content_type(customer: Customer, type_: str | None) -> None:
    headers, post = {"Content-Type": type_} if type_ else {}, customer.client.post
    response = await post(LOGIN, content=json.dumps(ANN), headers=headers)
    assert refusal(response)[2] == ("invalid_content_type" if type_ else "invalid_api_key")
    response = await post(TEXT, content=json.dumps(BODIES[TEXT]), headers=headers)
    assert response.status_code == 200


UNREADABLE = [
    (b"{", "identity", 400, "invalid_json", "is not valid JSON: "),
    (b"\xff", "identity", 400, "invalid_json", ""),
    (b"[]", "identity", 400, "invalid_value", "the body: "),
    (b"\x1f\x8b", "gzip", 415, "unsupported_media_type", "Content-Encoding"),
]


@pytest.mark.parametrize(
    ("path", "body", "encoding", "status", "code", "says"),
    [
        *((path, *each) for path in (TEXT, LOGIN) for each in UNREADABLE),
        # The limits of pydantic, and of Python's own parser, which is higher from 3.13 on.
        (TEXT, b"[" * 1_000, "identity", 400, "invalid_json", "recursion limit"),
        ("/admin/teams", b"[" * 60_000, "identity", 400, "invalid_json", "nested too deeply"),
    ],
)
async def test_an_unreadable_body_is_refused_with_the_reason(
    customer: Customer, path: str, body: bytes, encoding: str, status: int, code: str, says: str
) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": encoding}
    response = await customer.client.post(path, content=body, headers=headers)
    assert refusal(response) == (status, None, code)
    assert says in response.json()["error"]["message"]


# Routes without a credential have the lowest limit.
@pytest.mark.parametrize(("path", "most"), [(TEXT, 2**22), (LOGIN, 2**12), ("/admin/teams", 2**16)])
async def test_a_body_over_the_limit_returns_413(customer: Customer, path: str, most: int) -> None:
    response = await customer.client.post(path, content=b" " * (most + 1))
    assert refusal(response) == (413, None, "content_too_large")


async def test_api_docs_work_offline_and_have_valid_examples(client: httpx2.AsyncClient) -> None:
    page = (await client.get("/docs")).text
    assert '<a href="/openapi.json">' in page.partition('id="swagger-ui"')[2].partition("</div>")[0]
    document = (await client.get("/openapi.json")).json()
    schemas = document["components"]["schemas"]
    for schema in (ChatRequest, CompletionRequest):
        [example] = schemas[schema.__name__]["examples"]
        assert schema.model_validate(example)
    # No route documents a response that it never gives.
    operations = [each for path in document["paths"].values() for each in path.values()]
    assert all("Never" in operation["responses"]["422"]["description"] for operation in operations)
    assert all("413" in operation["responses"] for operation in operations)
    assert not {"HTTPValidationError", "ValidationError"} & schemas.keys()
