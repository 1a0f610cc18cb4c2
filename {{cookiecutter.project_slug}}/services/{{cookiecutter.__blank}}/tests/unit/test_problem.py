"""Errors that no route raises itself, and the shape that all have in common."""

import httpx2
import pytest
from fastapi import FastAPI
from structlog.typing import EventDict

from {{ cookiecutter.__package }} import errors
from {{ cookiecutter.__package }}.adapters import memory
from {{ cookiecutter.__package }}.api import problem
from {{ cookiecutter.__package }}.api.routes import PATH


def subclasses(kind: type[errors.ServiceError]) -> set[type[errors.ServiceError]]:
    return {kind, *(each for child in kind.__subclasses__() for each in subclasses(child))}


def test_every_error_has_a_status() -> None:
    assert subclasses(errors.ServiceError) - {errors.ServiceError} == problem.STATUS.keys()


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
    repository: memory.MemoryRepository,
    lines: list[EventDict],
) -> None:
    repository.down = True
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
