"""Errors that no route raises itself, and the shape that all have in common."""

from http import HTTPStatus
from uuid import UUID

import httpx2
import pytest
from fastapi import FastAPI
from structlog.typing import EventDict

from servicebase import errors, problem

from ..notes import PATH

JSON = {"Content-Type": "application/json"}


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
    assert (response.status_code, response.json()["title"]) == (405, "Method Not Allowed")
    assert response.headers["allow"]


async def test_the_documents_know_problems_as_the_only_errors(client: httpx2.AsyncClient) -> None:
    assert (await client.get("/docs")).status_code == 200
    document = (await client.get("/openapi.json")).json()
    errors_ = {
        media_type
        for path in document["paths"].values()
        for route in path.values()
        for status, answer in route["responses"].items()
        for media_type in answer.get("content", {})
        if int(status) >= 400
    }
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
async def test_each_error_has_a_status_and_names_the_field(
    app: FastAPI,
    client: httpx2.AsyncClient,
    lines: list[EventDict],
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
    body = response.json()
    assert body["detail"] == str(error)
    named = [each["pointer"] for each in body["errors"]] if "errors" in body else None
    assert named == places
    # That a server is gone may pass; why, only the log is told.
    gone = [line["server"] for line in lines if line["log_level"] == "warning"]
    assert gone == (["postgres"] if status == 503 else [])
    assert response.headers.get("retry-after") == ("1" if status == 503 else None)


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
    ("content", "named"),
    [
        ("{}", "#/name"),
        ('{"name": null}', "#/name"),
        ('{"name": "a\\u0000b"}', "#/name"),
        ('{"name": NaN}', "#/name"),
        ('{"name": "\\ud800"}', "#/name"),
        ('{"name": "x", "quantity": true}', "#/quantity"),
        ('{"name": "x", "quantity": "secret"}', "#/quantity"),
        ('{"name": "x", "tags": [1]}', "#/tags/0"),
        ('{"name": "x", "attributes": {"a": "\\u0000"}}', "#/attributes"),
        ('{"name": "x", "attributes": {"a": NaN}}', "#/attributes"),
        ('{"name": "x", "attributes": {"a": 1e999}}', "#/attributes"),
        ('{"name": "x", "a/b~c": 1}', "#/a~1b~0c"),
        ('{"name": "x", "\\ud800": 1}', "#"),
        ('{"name": "", "quantity": "1", "tags": [1]}', "#/name #/quantity #/tags/0"),
        ("[]", "#"),
        ("1", "#"),
        ("{", "#"),
        ("", "#"),
    ],
)
async def test_a_bad_body_answers_422_and_points_at_all_that_is_wrong_without_showing_it(
    client: httpx2.AsyncClient, content: str, named: str
) -> None:
    response = await client.post(PATH, content=content.encode(), headers=JSON)
    assert response.status_code == 422, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert [error["pointer"] for error in response.json()["errors"]] == named.split()
    assert "secret" not in response.text


async def test_json_that_no_one_can_read_answers_400(client: httpx2.AsyncClient) -> None:
    response = await client.post(PATH, content=b"\xff", headers=JSON)
    assert response.status_code == 400
    assert response.headers["content-type"] == "application/problem+json"
