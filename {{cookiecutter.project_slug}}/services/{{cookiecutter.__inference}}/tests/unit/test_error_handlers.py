"""Errors that no route raises itself, and the shape that all have in common."""

import json

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


@pytest.mark.usefixtures("lines")
async def test_what_no_route_answers_has_the_shape_of_all_errors_and_no_cause(
    app: FastAPI, client: httpx2.AsyncClient
) -> None:
    @app.get("/crash")
    def crash() -> None:
        raise RuntimeError("password=secret")

    unknown, wrong, crashed = [
        await client.request(method, path)
        for method, path in (("GET", "/nothing"), ("PUT", "/admin/teams"), ("GET", "/crash"))
    ]
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
async def test_json_needs_no_header_and_of_accounts_a_wrong_one_is_named(
    customer: Customer, type_: str | None
) -> None:
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
        # pydantic's limit, and that of Python's own parser, which is higher from 3.13 on.
        (TEXT, b"[" * 1_000, "identity", 400, "invalid_json", "recursion limit"),
        ("/admin/teams", b"[" * 60_000, "identity", 400, "invalid_json", "nested too deeply"),
    ],
)
async def test_a_body_that_cannot_be_read_is_told_why(
    customer: Customer, path: str, body: bytes, encoding: str, status: int, code: str, says: str
) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": encoding}
    response = await customer.client.post(path, content=body, headers=headers)
    assert refusal(response) == (status, None, code)
    assert says in response.json()["error"]["message"]


# Strangers may send little.
@pytest.mark.parametrize(("path", "most"), [(TEXT, 2**22), (LOGIN, 2**12), ("/admin/teams", 2**16)])
async def test_too_large_a_body_answers_413(customer: Customer, path: str, most: int) -> None:
    response = await customer.client.post(path, content=b" " * (most + 1))
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
