"""Each route, and each status that it can end in."""

from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest

from {{ cookiecutter.__package }} import domain
from {{ cookiecutter.__package }}.adapters import memory
from {{ cookiecutter.__package }}.api.routes import PAGE, PAGE_LIMIT, PATH

New = domain.New{{ cookiecutter.__class }}
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
        ({"name": "a\0b"}, "#/name"),
        ({"name": "x", "quantity": -1}, "#/quantity"),
        ({"name": "x", "quantity": "1"}, "#/quantity"),
        ({"name": "x", "quantity": True}, "#/quantity"),
        ({"name": "x", "quantity": 1.5}, "#/quantity"),
        ({"name": "x", "tags": ["a b"]}, "#/tags"),
        ({"name": "x", "tags": [1]}, "#/tags/0"),
        ({"name": "x", "attributes": []}, "#/attributes"),
        ({"name": "x", "attributes": {"a": "\0"}}, "#/attributes"),
        ({"name": "x", "a/b~c": 1}, "#/a~1b~0c"),
        ([], "#"),
    ],
)
async def test_create_answers_422_and_points_at_what_is_wrong(
    client: httpx2.AsyncClient,
    body: object,
    pointer: str,
) -> None:
    assert pointers(await client.post(PATH, json=body)) == [pointer]


async def test_create_answers_422_with_all_that_is_wrong(client: httpx2.AsyncClient) -> None:
    response = await client.post(PATH, json={"name": "", "quantity": -1, "tags": ["?"]})
    assert pointers(response) == ["#/name", "#/quantity", "#/tags"]


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
async def test_create_answers_422_to_what_is_no_good_json(
    client: httpx2.AsyncClient,
    content: bytes,
    pointer: str,
) -> None:
    headers = {"Content-Type": "application/json"}
    assert pointers(await client.post(PATH, content=content, headers=headers)) == [pointer]


async def test_create_answers_400_to_json_that_no_one_can_read(client: httpx2.AsyncClient) -> None:
    headers = {"Content-Type": "application/json"}
    response = await client.post(PATH, content=b"\xff", headers=headers)
    assert response.status_code == 400
    assert response.headers["content-type"] == "application/problem+json"


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


async def test_create_with_a_key_of_another_body_answers_422(client: httpx2.AsyncClient) -> None:
    headers = {"Idempotency-Key": "key"}
    await client.post(PATH, json={"name": "lamp"}, headers=headers)
    response = await client.post(PATH, json={"name": "desk"}, headers=headers)
    assert response.status_code == 422
    assert "another body" in response.json()["detail"]


async def test_create_with_a_key_can_be_retried_after_a_failure(
    client: httpx2.AsyncClient,
    repository: memory.MemoryRepository,
) -> None:
    headers = {"Idempotency-Key": "key"}
    repository.down = True
    failed = await client.post(PATH, json={"name": "lamp"}, headers=headers)
    repository.down = False
    retry = await client.post(PATH, json={"name": "lamp"}, headers=headers)
    assert (failed.status_code, retry.status_code) == (503, 201)


@pytest.mark.parametrize("key", ["", "k" * 256])
async def test_create_answers_422_to_a_bad_key(client: httpx2.AsyncClient, key: str) -> None:
    response = await client.post(PATH, json={"name": "x"}, headers={"Idempotency-Key": key})
    assert pointers(response) == ["Idempotency-Key"]


async def test_create_without_a_key_does_without_the_store(
    client: httpx2.AsyncClient,
    idempotency: memory.MemoryIdempotency,
) -> None:
    idempotency.down = True
    await create(client, name="lamp")


async def test_create_with_a_key_answers_503_without_the_store(
    client: httpx2.AsyncClient,
    idempotency: memory.MemoryIdempotency,
) -> None:
    idempotency.down = True
    headers = {"Idempotency-Key": "key"}
    response = await client.post(PATH, json={"name": "lamp"}, headers=headers)
    assert response.status_code == 503
    assert (await client.get(PATH)).json()["data"] == []


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
    client: httpx2.AsyncClient,
    method: str,
    body: object,
) -> None:
    response = await client.request(method, MISSING, json=body)
    assert response.status_code == 404
    assert str(UUID(int=7)) in response.json()["detail"]


@pytest.mark.parametrize(("method", "body"), [("GET", None), ("PATCH", {}), ("DELETE", None)])
async def test_what_is_no_id_answers_422(
    client: httpx2.AsyncClient,
    method: str,
    body: object,
) -> None:
    assert pointers(await client.request(method, f"{PATH}/7", json=body)) == ["id"]


async def test_update_replaces_the_fields_that_are_sent(client: httpx2.AsyncClient) -> None:
    before = await create(client, name="lamp", quantity=3, tags=["a"])
    response = await client.patch(f"{PATH}/{before['id']}", json={"quantity": 4})
    after = response.json()
    assert response.status_code == 200
    assert after == {**before, "quantity": 4, "updated_at": after["updated_at"]}
    assert after["updated_at"] > before["updated_at"]


async def test_update_with_nothing_changes_nothing(client: httpx2.AsyncClient) -> None:
    before = await create(client, name="lamp")
    assert (await client.patch(f"{PATH}/{before['id']}", json={})).json() == before


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
    client: httpx2.AsyncClient,
    body: object,
    pointer: str,
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


async def test_list_of_nothing_is_empty(client: httpx2.AsyncClient) -> None:
    assert (await client.get(PATH)).json() == {"data": [], "next": None}


async def test_list_leads_from_page_to_page_until_there_is_no_more(
    client: httpx2.AsyncClient,
) -> None:
    created = [await create(client, name=f"lamp {number}") for number in range(5)]
    await create(client, name="desk")
    sizes, listed = [], []
    following = f"{PATH}?limit=2&search=lamp"
    while following:
        page = (await client.get(following)).json()
        sizes.append(len(page["data"]))
        listed += page["data"]
        following = page["next"]
    assert sizes == [2, 2, 1]
    assert listed == created[::-1]


async def test_list_finds_a_name_however_it_is_typed(client: httpx2.AsyncClient) -> None:
    created = await create(client, name="caf\u00e9")
    page = (await client.get(PATH, params={"search": " CAFE\u0301 "})).json()
    assert page["data"] == [created]


async def test_list_has_no_next_page_when_this_one_holds_all(client: httpx2.AsyncClient) -> None:
    for number in range(2):
        await create(client, name=f"{number}")
    assert (await client.get(PATH, params={"limit": 2})).json()["next"] is None


async def test_list_is_limited_without_being_asked(
    client: httpx2.AsyncClient,
    repository: memory.MemoryRepository,
) -> None:
    for number in range(PAGE + 1):
        await repository.add(uuid4(), New(name=f"{number}"))
    assert len((await client.get(PATH)).json()["data"]) == PAGE


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("limit=0", "limit"),
        (f"limit={PAGE_LIMIT + 1}", "limit"),
        ("limit=x", "limit"),
        ("cursor=", "cursor"),
        ("cursor=x", "cursor"),
        ("search=%00", "search"),
        ("search=" + 201 * "x", "search"),
    ],
)
async def test_list_answers_422_to_a_bad_parameter(
    client: httpx2.AsyncClient,
    query: str,
    parameter: str,
) -> None:
    assert pointers(await client.get(f"{PATH}?{query}")) == [parameter]
