"""Errors that no route raises itself, and the shape that all have in common."""

from http import HTTPStatus
from uuid import UUID

import httpx2
import pytest
from fastapi import FastAPI
from structlog.typing import EventDict

from servicebase import errors, problem

from ..notes import PATH, MemoryNotes


def pointers(response: httpx2.Response) -> list[str]:
    assert response.status_code == 422, response.text
    assert response.headers["content-type"] == "application/problem+json"
    return [error.get("pointer") or error["parameter"] for error in response.json()["errors"]]


def test_every_error_has_a_status() -> None:
    kinds = {each for each in vars(errors).values() if isinstance(each, type)} - {UUID}
    assert kinds - {errors.ServiceError} == problem.STATUSES.keys()


async def test_an_unknown_path_answers_404(client: httpx2.AsyncClient) -> None:
    response = await client.get("/nothing")
    assert response.status_code == 404
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json() == {
        "type": "about:blank",
        "title": "Not Found",
        "status": 404,
        "request_id": response.headers["x-request-id"],
    }


async def test_a_wrong_method_answers_405_and_names_the_right_ones(
    client: httpx2.AsyncClient,
) -> None:
    response = await client.put(PATH, json={})
    assert response.status_code == 405
    assert response.json()["title"] == "Method Not Allowed"
    assert response.headers["allow"]


@pytest.mark.usefixtures("lines")
async def test_a_crash_answers_500_and_tells_nothing_of_its_cause(
    app: FastAPI,
    client: httpx2.AsyncClient,
) -> None:
    @app.get("/crash")
    def crash() -> None:
        raise RuntimeError("password=secret")

    response = await client.get("/crash")
    assert response.status_code == 500
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["request_id"] == response.headers["x-request-id"]
    assert "secret" not in response.text


async def test_a_server_that_is_gone_is_a_warning_in_the_log(
    client: httpx2.AsyncClient,
    memory_notes: MemoryNotes,
    lines: list[EventDict],
) -> None:
    memory_notes.down = True
    await client.get(PATH)
    warning, _ = lines
    assert (warning["log_level"], warning["server"]) == ("warning", "memory")


async def test_what_was_sent_is_not_sent_back(client: httpx2.AsyncClient) -> None:
    response = await client.post(PATH, json={"name": "x", "quantity": "secret"})
    assert response.status_code == 422
    assert "secret" not in response.text


@pytest.mark.parametrize("path", ["/openapi.json", "/docs"])
async def test_the_api_documents_itself(client: httpx2.AsyncClient, path: str) -> None:
    assert (await client.get(path)).status_code == 200


async def test_the_documents_know_problems_as_the_only_errors(client: httpx2.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    answers = [
        (status, media_type)
        for path in document["paths"].values()
        for route in path.values()
        for status, answer in route["responses"].items()
        for media_type in answer.get("content", {})
    ]
    errors_ = {media_type for status, media_type in answers if int(status) >= 400}
    assert errors_ == {"application/problem+json"}


@pytest.mark.parametrize(
    ("error", "status", "places"),
    [
        (errors.NotFoundError("note", UUID(int=7)), 404, None),
        (errors.ConflictError("name"), 409, ["#/name"]),
        (errors.InvalidError("name", "is bad"), 422, ["#/name"]),
        (errors.InvalidReferenceError("team_id"), 422, ["#/team_id"]),
        (errors.KeyReusedError(), 422, None),
        (errors.UnavailableError("postgres"), 503, None),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.usefixtures("lines")
async def test_each_error_has_a_status_and_names_the_field(
    app: FastAPI,
    client: httpx2.AsyncClient,
    error: errors.ServiceError,
    status: int,
    places: list[str] | None,
) -> None:
    @app.get("/error")
    def fail() -> None:
        raise error

    response = await client.get("/error")
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers.get("retry-after") == ("1" if status == 503 else None)
    body = response.json()
    assert body["detail"] == str(error)
    named = [each["pointer"] for each in body["errors"]] if "errors" in body else None
    assert named == places


async def test_a_service_has_errors_of_its_own_and_what_is_derived_has_the_status_of_its_base(
    app: FastAPI, client: httpx2.AsyncClient
) -> None:
    class TeapotError(errors.ServiceError):
        pass

    class NameConflictError(errors.ConflictError):
        pass

    @app.get("/{path}")
    def fail(path: str) -> None:
        raise TeapotError("no coffee") if path == "teapot" else NameConflictError("name")

    problem.install(app, {TeapotError: HTTPStatus.IM_A_TEAPOT})
    statuses = [(await client.get(path)).status_code for path in ("/teapot", "/other")]
    assert statuses == [418, 409]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "#/name"),
        ({"name": None}, "#/name"),
        ({"name": "a\0b"}, "#/name"),
        ({"name": "x", "quantity": True}, "#/quantity"),
        ({"name": "x", "tags": [1]}, "#/tags/0"),
        ({"name": "x", "attributes": {"a": "\0"}}, "#/attributes"),
        ({"name": "x", "a/b~c": 1}, "#/a~1b~0c"),
        ([], "#"),
    ],
)
async def test_a_bad_body_answers_422_and_points_at_what_is_wrong(
    client: httpx2.AsyncClient, body: object, pointer: str
) -> None:
    assert pointers(await client.post(PATH, json=body)) == [pointer]


async def test_all_that_is_wrong_is_told_at_once(client: httpx2.AsyncClient) -> None:
    response = await client.post(PATH, json={"name": "", "quantity": "1", "tags": [1]})
    assert pointers(response) == ["#/name", "#/quantity", "#/tags/0"]


@pytest.mark.parametrize(
    ("content", "pointer"),
    [
        (b"", "#"),
        (b"{", "#"),
        (b"1", "#"),
        (b'{"name": NaN}', "#/name"),
        (b'{"name": "\\ud800"}', "#/name"),
        (b'{"name": "x", "attributes": {"a": NaN}}', "#/attributes"),
        (b'{"name": "x", "attributes": {"a": 1e999}}', "#/attributes"),
        (b'{"name": "x", "\\ud800": 1}', "#"),
    ],
)
async def test_what_is_no_good_json_answers_422(
    client: httpx2.AsyncClient, content: bytes, pointer: str
) -> None:
    headers = {"Content-Type": "application/json"}
    assert pointers(await client.post(PATH, content=content, headers=headers)) == [pointer]


async def test_json_that_no_one_can_read_answers_400(client: httpx2.AsyncClient) -> None:
    headers = {"Content-Type": "application/json"}
    response = await client.post(PATH, content=b"\xff", headers=headers)
    assert response.status_code == 400
    assert response.headers["content-type"] == "application/problem+json"
