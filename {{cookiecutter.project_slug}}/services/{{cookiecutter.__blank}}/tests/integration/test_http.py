"""The whole of a life, over HTTP, on real servers."""

import asyncio
from uuid import uuid4

import httpx2

from {{ cookiecutter.__package }}.api.routes import PATH


async def test_one_is_created_read_changed_listed_and_deleted(client: httpx2.AsyncClient) -> None:
    body = {"name": "雪 lamp", "quantity": 3, "tags": ["b", "a"], "attributes": {"a": [1.5, None]}}
    response = await client.post(PATH, json=body)
    created, place = response.json(), response.headers["location"]
    assert response.status_code == 201
    assert created == {**created, **body, "tags": ["a", "b"]}
    assert (await client.get(place)).json() == created

    changed = (await client.patch(place, json={"quantity": 4})).json()
    assert changed == {**created, "quantity": 4, "updated_at": changed["updated_at"]}
    assert changed["updated_at"] > created["updated_at"]
    assert (await client.get(PATH, params={"search": "雪"})).json()["data"] == [changed]

    assert (await client.delete(place)).status_code == 204
    assert (await client.get(place)).status_code == 404
    assert (await client.get(PATH)).json() == {"data": [], "next": None}


async def test_pages_lead_through_all_of_them(client: httpx2.AsyncClient) -> None:
    for number in range(5):
        await client.post(PATH, json={"name": f"lamp {number}"})
    names = []
    following = f"{PATH}?limit=2&search=LAMP"
    while following:
        page = (await client.get(following)).json()
        names += [each["name"] for each in page["data"]]
        following = page["next"]
    assert names == ["lamp 4", "lamp 3", "lamp 2", "lamp 1", "lamp 0"]


async def test_a_taken_name_answers_409(client: httpx2.AsyncClient) -> None:
    await client.post(PATH, json={"name": "lamp"})
    response = await client.post(PATH, json={"name": "lamp"})
    assert response.status_code == 409
    assert response.json()["errors"][0]["pointer"] == "#/name"


async def test_many_retries_at_once_create_one(client: httpx2.AsyncClient) -> None:
    headers = {"Idempotency-Key": str(uuid4())}
    tries = [client.post(PATH, json={"name": "lamp"}, headers=headers) for _ in range(8)]
    responses = await asyncio.gather(*tries)
    assert {response.status_code for response in responses} == {201}
    assert len({response.json()["id"] for response in responses}) == 1
    assert len((await client.get(PATH)).json()["data"]) == 1


async def test_a_key_of_another_body_answers_422(client: httpx2.AsyncClient) -> None:
    headers = {"Idempotency-Key": "key"}
    await client.post(PATH, json={"name": "lamp"}, headers=headers)
    response = await client.post(PATH, json={"name": "desk"}, headers=headers)
    assert response.status_code == 422


async def test_ready_answers_200(client: httpx2.AsyncClient) -> None:
    assert (await client.get("/health/ready")).status_code == 200
