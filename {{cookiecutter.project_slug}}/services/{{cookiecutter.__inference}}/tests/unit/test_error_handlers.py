"""Errors that no route raises itself, and the shape that all have in common."""

import json
import re
from collections.abc import AsyncIterator

import httpx2
import pytest
from fastapi import FastAPI

from servicebase import errors as kit

from gateway import errors
from gateway.api import error_handlers
from gateway.api.schemas.completion_requests import ChatRequest, CompletionRequest

from .conftest import BODIES, TEXT, Customer, refusal


def test_every_error_has_an_answer() -> None:
    ours, theirs = (
        {each for each in vars(module).values() if str(each).endswith("Error'>")}
        for module in (errors, kit)
    )
    assert ours - {errors.ServiceError} == error_handlers.ANSWERS.keys()
    # None that the kit may raise is missing; keys of idempotency the gateway has not.
    assert theirs - ours == {kit.KeyReusedError}


async def test_an_unknown_path_answers_404(client: httpx2.AsyncClient) -> None:
    response = await client.get("/nothing")
    assert response.status_code == 404
    assert response.headers["content-type"] == "application/json"
    told = {"message": "Not Found", "type": "invalid_request_error", "param": None}
    assert response.json() == {"error": {**told, "code": "not_found"}}


async def test_a_wrong_method_answers_405_and_names_right_ones(client: httpx2.AsyncClient) -> None:
    response = await client.put("/admin/teams", json={})
    assert response.status_code == 405
    assert response.json()["error"]["code"] == "method_not_allowed"
    assert response.headers["allow"] == "GET, POST"


@pytest.mark.usefixtures("lines")
async def test_a_crash_answers_500_and_tells_nothing_of_its_cause(
    app: FastAPI, client: httpx2.AsyncClient
) -> None:
    @app.get("/crash")
    def crash() -> None:
        raise RuntimeError("password=secret")

    response = await client.get("/crash")
    assert response.status_code == 500
    assert response.json()["error"]["type"] == "server_error"
    assert response.headers["x-request-id"]
    assert "secret" not in response.text


LOGIN = "/auth/login"
ANN = {"email": "ann@example.org", "password": "not hers, whoever she is"}


@pytest.mark.parametrize(
    ("path", "type_", "code"),
    [
        (LOGIN, None, "invalid_api_key"),
        (LOGIN, "text/plain", "invalid_content_type"),
        (LOGIN, "application/x-www-form-urlencoded", "invalid_content_type"),
        (TEXT, None, None),
        (TEXT, "text/plain", None),
    ],
)
async def test_json_needs_no_header_and_a_wrong_one_is_named(
    customer: Customer, path: str, type_: str | None, code: str | None
) -> None:
    headers = {"Content-Type": type_} if type_ else {}
    content = json.dumps(BODIES.get(path, ANN))
    response = await customer.client.post(path, content=content, headers=headers)
    assert response.json().get("error", {}).get("code") == code


UNREADABLE = [
    (b"{", "identity", 400, "invalid_json", "is no JSON: "),
    (b"\xff", "identity", 400, "invalid_json", ""),
    (b"[]", "identity", 400, "invalid_value", "the body: "),
    (b"\x1f\x8b", "gzip", 415, "unsupported_media_type", "Content-Encoding"),
]


@pytest.mark.parametrize("path", [TEXT, LOGIN])
@pytest.mark.parametrize(("body", "encoding", "status", "code", "says"), UNREADABLE)
async def test_a_body_that_cannot_be_read_is_told_why(
    customer: Customer, path: str, body: bytes, encoding: str, status: int, code: str, says: str
) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": encoding}
    response = await customer.client.post(path, content=body, headers=headers)
    assert refusal(response) == (status, None, code)
    assert re.search(says, response.json()["error"]["message"])


@pytest.mark.parametrize(
    ("path", "depth", "says"),
    # pydantic's limit, and that of Python's own parser, which is higher from 3.13 on.
    [(TEXT, 1_000, "recursion limit"), ("/admin/teams", 60_000, "nested too deeply")],
)
async def test_a_body_that_is_nested_too_deeply_is_told_so(
    customer: Customer, path: str, depth: int, says: str
) -> None:
    headers = {"Content-Type": "application/json"}
    response = await customer.client.post(path, content=b"[" * depth, headers=headers)
    assert refusal(response) == (400, None, "invalid_json")
    assert says in response.json()["error"]["message"]


@pytest.mark.parametrize("chunked", [False, True])
# Strangers may send little.
@pytest.mark.parametrize(("path", "most"), [(TEXT, 2**22), (LOGIN, 2**12), ("/admin/teams", 2**16)])
async def test_a_body_that_is_too_large_answers_413(
    customer: Customer, path: str, most: int, *, chunked: bool
) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(5):
            yield b" " * (most // 4)

    content = pieces() if chunked else b" " * (most + 1)
    response = await customer.client.post(path, content=content)
    assert refusal(response) == (413, None, "content_too_large")


async def test_the_api_has_a_page_with_examples_even_offline(client: httpx2.AsyncClient) -> None:
    page = (await client.get("/docs")).text
    assert '<a href="/openapi.json">' in page.partition('id="swagger-ui"')[2].partition("</div>")[0]
    document = (await client.get("/openapi.json")).json()
    schemas = document["components"]["schemas"]
    for schema in (ChatRequest, CompletionRequest):
        [example] = schemas[schema.__name__]["examples"]
        assert schema.model_validate(example)
    # No route promises an answer that none gives.
    operations = [each for path in document["paths"].values() for each in path.values()]
    assert all("Never" in operation["responses"]["422"]["description"] for operation in operations)
    assert all("413" in operation["responses"] for operation in operations)
    assert not {"HTTPValidationError", "ValidationError"} & schemas.keys()
