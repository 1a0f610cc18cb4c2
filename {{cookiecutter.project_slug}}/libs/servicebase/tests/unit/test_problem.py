"""Errors that no route raises itself, and the shape that all have in common."""

from http import HTTPStatus
from uuid import UUID

import httpx2
import pytest
from fastapi import FastAPI
from structlog.typing import EventDict

from servicebase import errors, problem

from ..notes import PATH, problem_in

JSON = {"Content-Type": "application/json"}
BAD_BODIES = {
    "#/name": (
        *("{}", '{"name": null}', '{"name": NaN}'),
        *('{"name": "a\\u0000b"}', '{"name": "\\ud800"}'),
    ),
    "#/quantity": ('{"name": "x", "quantity": true}', '{"name": "x", "quantity": "secret"}'),
    "#/tags/0": ('{"name": "x", "tags": [1]}',),
    "#/attributes": (
        *('{"name": "x", "attributes": {"a": NaN}}', '{"name": "x", "attributes": {"a": 1e999}}'),
        '{"name": "x", "attributes": {"a": "\\u0000"}}',
    ),
    "#/a~1b~0c": ('{"name": "x", "a/b~c": 1}',),
    "#/name #/quantity #/tags/0": ('{"name": "", "quantity": "1", "tags": [1]}',),
    "#": ("[]", "1", "{", "", '{"name": "x", "\\ud800": 1}'),
}


class TeapotError(errors.ServiceError):
    """One of a service's own."""


class NameTakenError(errors.ConflictError):
    """One that has the status of what it is derived from."""


def test_every_error_has_a_status() -> None:
    kinds = {each for each in vars(errors).values() if isinstance(each, type)} - {UUID}
    assert kinds - {errors.ServiceError} == problem.STATUSES.keys()


@pytest.mark.parametrize(
    ("method", "path", "content", "status"),
    # The last is JSON that no one can read.
    [("GET", "/nothing", b"", 404), ("PUT", PATH, b"{}", 405), ("POST", PATH, b"\xff", 400)],
)
async def test_what_no_route_sees_is_a_problem_as_well(
    client: httpx2.AsyncClient, method: str, path: str, content: bytes, status: int
) -> None:
    response = await client.request(method, path, content=content, headers=JSON)
    body = problem_in(response, status)
    assert ("allow" in response.headers, "detail" in body) == (status == 405, status == 400)
    body.pop("detail", None)
    assert body == {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "request_id": response.headers["x-request-id"],
    }


@pytest.mark.parametrize(
    ("error", "status", "pointer"),
    [
        (errors.NotFoundError("note", UUID(int=7)), 404, None),
        (errors.ConflictError("name"), 409, "#/name"),
        (errors.InvalidError("name", "is bad"), 422, "#/name"),
        (errors.InvalidReferenceError("team_id"), 422, "#/team_id"),
        (errors.KeyReusedError(), 422, None),
        (errors.UnavailableError("postgres"), 503, None),
        (TeapotError("no coffee"), 418, None),
        (NameTakenError("name"), 409, "#/name"),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_each_error_has_a_status_and_names_the_field(
    app: FastAPI,
    client: httpx2.AsyncClient,
    lines: list[EventDict],
    error: errors.ServiceError,
    status: int,
    pointer: str | None,
) -> None:
    @app.get("/error")
    def fail() -> None:
        raise error

    problem.install(app, {TeapotError: HTTPStatus.IM_A_TEAPOT})
    response = await client.get("/error")
    body = problem_in(response, status)
    assert body["detail"] == str(error)
    wrong = [{"detail": str(error), "pointer": pointer}] if pointer else None
    assert body.get("errors") == wrong
    # That a server is gone may pass; why, only the log is told.
    gone = [line["server"] for line in lines if line["log_level"] == "warning"]
    assert gone == (["postgres"] if status == 503 else [])
    assert response.headers.get("retry-after") == ("1" if status == 503 else None)


@pytest.mark.parametrize(
    ("content", "named"), [(text, named) for named, texts in BAD_BODIES.items() for text in texts]
)
async def test_a_bad_body_answers_422_and_points_at_all_that_is_wrong_without_showing_it(
    client: httpx2.AsyncClient, content: str, named: str
) -> None:
    response = await client.post(PATH, content=content.encode(), headers=JSON)
    wrong = problem_in(response, 422)["errors"]
    assert [error["pointer"] for error in wrong] == named.split()
    assert "secret" not in response.text
