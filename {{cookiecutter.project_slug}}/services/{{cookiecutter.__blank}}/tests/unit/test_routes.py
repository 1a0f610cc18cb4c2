"""Each route, and each status that it can end in."""

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


async def test_create_answers_201_with_all_of_it_and_its_place(client: httpx2.AsyncClient) -> None:
    body = {"name": "lamp", "quantity": 3, "tags": ["b", "A"], "attributes": {"a": [1, None]}}
    response = await client.post(PATH, json=body)
    created = response.json()
    assert response.status_code == 201
    assert response.headers["location"] == f"{PATH}/{created['id']}"
    assert created.keys() == {*body, "id", "created_at", "updated_at"}
    assert created["tags"] == ["a", "b"]
    assert (await client.get(response.headers["location"])).json() == created


async def test_create_needs_a_name_alone(client: httpx2.AsyncClient) -> None:
    created = await create(client, name="lamp")
    assert (created["quantity"], created["tags"], created["attributes"]) == (0, [], {})


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "#/name"),
        ({"name": ""}, "#/name"),
        ({"name": None}, "#/name"),
        ({"name": "x", "quantity": -1}, "#/quantity"),
        ({"name": "x", "quantity": "1"}, "#/quantity"),
        ({"name": "x", "quantity": True}, "#/quantity"),
        ({"name": "x", "quantity": 1.5}, "#/quantity"),
        ({"name": "x", "tags": ["a b"]}, "#/tags"),
        ({"name": "x", "tags": [1]}, "#/tags/0"),
        ({"name": "x", "attributes": []}, "#/attributes"),
        ({"name": "x", "id": str(UUID(int=8))}, "#/id"),
        ({"name": "x", "attributes": {"a": "\0"}}, "#/attributes"),
    ],
)
async def test_create_answers_422_and_points_at_what_is_wrong(
    client: httpx2.AsyncClient, body: object, pointer: str
) -> None:
    assert pointers(await client.post(PATH, json=body)) == [pointer]


async def test_create_answers_409_to_a_taken_name(client: httpx2.AsyncClient) -> None:
    await create(client, name="lamp")
    response = await client.post(PATH, json={"name": " lamp "})
    assert response.status_code == 409
    assert response.json()["errors"] == [
        {"detail": "another one has this name", "pointer": "#/name"}
    ]


async def test_create_with_a_key_creates_once(client: httpx2.AsyncClient) -> None:
    headers = {"Idempotency-Key": "key"}
    first = await client.post(PATH, json={"name": "lamp"}, headers=headers)
    retry = await client.post(PATH, json={"name": " lamp", "quantity": 0}, headers=headers)
    assert (first.status_code, retry.status_code) == (201, 201)
    assert retry.json() == first.json()
    assert retry.headers["location"] == first.headers["location"]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", PATH, {"name": "x"}),
        ("GET", PATH, None),
        ("GET", MISSING, None),
        ("PATCH", MISSING, {"quantity": 1}),
        ("DELETE", MISSING, None),
    ],
)
async def test_every_route_answers_503_without_the_repository(
    client: httpx2.AsyncClient,
    repository: memory.MemoryRepository,
    method: str,
    path: str,
    body: object,
) -> None:
    repository.down = True
    response = await client.request(method, path, json=body)
    assert response.status_code == 503
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["retry-after"] == "1"


@pytest.mark.parametrize(("method", "body"), [("GET", None), ("PATCH", {}), ("DELETE", None)])
async def test_what_does_not_exist_answers_404(
    client: httpx2.AsyncClient, method: str, body: object
) -> None:
    response = await client.request(method, MISSING, json=body)
    assert response.status_code == 404
    assert str(UUID(int=7)) in response.json()["detail"]


@pytest.mark.parametrize(("method", "body"), [("GET", None), ("PATCH", {}), ("DELETE", None)])
async def test_what_is_no_id_answers_422(
    client: httpx2.AsyncClient, method: str, body: object
) -> None:
    assert pointers(await client.request(method, f"{PATH}/7", json=body)) == ["id"]


async def test_update_replaces_the_fields_that_are_sent(client: httpx2.AsyncClient) -> None:
    before = await create(client, name="lamp", quantity=3, tags=["a"])
    response = await client.patch(f"{PATH}/{before['id']}", json={"quantity": 4})
    after = response.json()
    assert response.status_code == 200
    assert after == {**before, "quantity": 4, "updated_at": after["updated_at"]}
    assert after["updated_at"] > before["updated_at"]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"name": None}, "#/name"),
        ({"name": ""}, "#/name"),
        ({"quantity": None}, "#/quantity"),
        ({"id": str(UUID(int=8))}, "#/id"),
        ({"created_at": "2026-01-01T00:00:00Z"}, "#/created_at"),
    ],
)
async def test_update_answers_422_and_points_at_what_is_wrong(
    client: httpx2.AsyncClient, body: object, pointer: str
) -> None:
    before = await create(client, name="lamp")
    assert pointers(await client.patch(f"{PATH}/{before['id']}", json=body)) == [pointer]


async def test_update_answers_409_to_a_taken_name(client: httpx2.AsyncClient) -> None:
    await create(client, name="lamp")
    other = await create(client, name="desk")
    response = await client.patch(f"{PATH}/{other['id']}", json={"name": "lamp"})
    assert response.status_code == 409


async def test_delete_answers_204_and_it_is_gone(client: httpx2.AsyncClient) -> None:
    created = await create(client, name="lamp")
    response = await client.delete(f"{PATH}/{created['id']}")
    assert (response.status_code, response.content) == (204, b"")
    assert (await client.get(f"{PATH}/{created['id']}")).status_code == 404


async def test_list_finds_a_name_however_it_is_typed(client: httpx2.AsyncClient) -> None:
    created = await create(client, name="caf\u00e9")
    page = (await client.get(PATH, params={"search": " CAFE\u0301 "})).json()
    assert page["data"] == [created]


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("search=%00", "search"),
        ("search=" + 201 * "x", "search"),
    ],
)
async def test_list_answers_422_to_a_bad_parameter(
    client: httpx2.AsyncClient, query: str, parameter: str
) -> None:
    assert pointers(await client.get(f"{PATH}?{query}")) == [parameter]


@pytest.mark.parametrize("down", [["postgres"], ["redis"], ["postgres", "redis"]])
async def test_ready_answers_503_and_names_what_is_down(
    client: httpx2.AsyncClient,
    repository: memory.MemoryRepository,
    idempotency: MemoryIdempotency,
    down: list[str],
) -> None:
    assert (await client.get("/health/ready")).status_code == 200
    repository.down = "postgres" in down
    idempotency.down = "redis" in down
    response = await client.get("/health/ready")
    assert (response.status_code, response.json()["detail"]) == (503, f"down: {', '.join(down)}")


async def test_the_documents_know_problems_as_the_only_errors(client: httpx2.AsyncClient) -> None:
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
