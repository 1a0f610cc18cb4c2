"""Routes, with each status that they can return."""

from typing import Any
from uuid import UUID

import httpx2
import pytest

from servicebase.idempotency import MemoryIdempotency

from {{ cookiecutter.__package }}.adapters import memory
from {{ cookiecutter.__package }}.api.routes import PATH

MISSING = f"{PATH}/{UUID(int=7)}"


async def create(client: httpx2.AsyncClient, **body: object) -> dict[str, Any]:
    response = await client.post(PATH, json=body)
    assert response.status_code == 201, response.text
    created: dict[str, Any] = response.json()
    return created


def pointers(response: httpx2.Response) -> list[str]:
    assert response.status_code == 422, response.text
    assert response.headers["content-type"] == "application/problem+json"
    return [error.get("pointer") or error["parameter"] for error in response.json()["errors"]]


async def test_create_answers_201_with_all_fields_and_location(client: httpx2.AsyncClient) -> None:
    body = {"name": "lamp", "quantity": 3, "tags": ["b", "A"], "attributes": {"a": [1, None]}}
    response = await client.post(PATH, json=body)
    created = response.json()
    assert response.status_code == 201
    assert response.headers["location"] == f"{PATH}/{created['id']}"
    assert created.keys() == {*body, "id", "created_at", "updated_at"}
    assert created["tags"] == ["a", "b"]
    assert (await client.get(response.headers["location"])).json() == created


async def test_create_needs_only_a_name(client: httpx2.AsyncClient) -> None:
    created = await create(client, name="lamp")
    assert (created["quantity"], created["tags"], created["attributes"]) == (0, [], {})


@pytest.mark.parametrize(
    ("method", "path", "body", "pointer"),
    [
        ("POST", PATH, {}, "#/name"),
        ("POST", PATH, {"name": ""}, "#/name"),
        ("POST", PATH, {"name": "x", "quantity": -1}, "#/quantity"),
        ("POST", PATH, {"name": "x", "quantity": "1"}, "#/quantity"),
        ("POST", PATH, {"name": "x", "tags": ["a b"]}, "#/tags/0"),
        ("POST", PATH, {"name": "x", "attributes": []}, "#/attributes"),
        ("POST", PATH, {"name": "x", "attributes": {"a": "\0"}}, "#/attributes"),
        ("POST", PATH, {"name": "x", "id": str(UUID(int=8))}, "#/id"),
        ("PATCH", MISSING, {"name": ""}, "#/name"),
        ("PATCH", MISSING, {"quantity": None}, "#/quantity"),
        ("PATCH", MISSING, {"created_at": "2026-01-01T00:00:00Z"}, "#/created_at"),
        *((method, f"{PATH}/7", {}, "id") for method in ("GET", "PATCH", "DELETE")),
        *(("GET", f"{PATH}?search={bad}", None, "search") for bad in ("%00", 201 * "x")),
    ],
)
async def test_a_bad_request_answers_422_and_points_at_what_is_wrong(
    client: httpx2.AsyncClient, method: str, path: str, body: object, pointer: str
) -> None:
    assert pointers(await client.request(method, path, json=body)) == [pointer]


async def test_a_taken_name_answers_409(client: httpx2.AsyncClient) -> None:
    await create(client, name="lamp")
    other = await create(client, name="desk")
    created = await client.post(PATH, json={"name": " lamp "})
    updated = await client.patch(f"{PATH}/{other['id']}", json={"name": "lamp"})
    for response in (created, updated):
        assert response.status_code == 409
        [error] = response.json()["errors"]
        assert error == {"detail": "name is already taken", "pointer": "#/name"}


@pytest.mark.parametrize(("method", "body"), [("GET", None), ("PATCH", {}), ("DELETE", None)])
async def test_an_unknown_id_answers_404(
    client: httpx2.AsyncClient, method: str, body: object
) -> None:
    response = await client.request(method, MISSING, json=body)
    assert response.status_code == 404
    assert str(UUID(int=7)) in response.json()["detail"]


async def test_list_finds_a_name_however_it_is_typed(client: httpx2.AsyncClient) -> None:
    created = await create(client, name="caf\u00e9")
    page = (await client.get(PATH, params={"search": " CAFE\u0301 "})).json()
    assert page["data"] == [created]


async def test_ready_asks_each_server(
    client: httpx2.AsyncClient,
    memory_repository: memory.MemoryRepository,
    memory_idempotency: MemoryIdempotency,
) -> None:
    assert (await client.get("/health/ready")).status_code == 200
    memory_idempotency.down = True
    assert (await client.get("/health/ready")).json()["detail"] == "down: redis"
    memory_repository.down = True
    response = await client.get("/health/ready")
    assert (response.status_code, response.json()["detail"]) == (503, "down: postgres, redis")


async def test_openapi_has_problems_as_the_only_errors(client: httpx2.AsyncClient) -> None:
    assert (await client.get("/docs")).status_code == 200
    document = (await client.get("/openapi.json")).json()
    errors = {
        media_type
        for path in document["paths"].values()
        for route in path.values()
        for status, answer in route["responses"].items()
        for media_type in answer.get("content", {})
        if int(status) >= 400
    }
    assert errors == {"application/problem+json"}
