"""Lifecycle over HTTP, on real servers."""

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

    response = await client.patch(place, json={"quantity": 4})
    changed = response.json()
    assert response.status_code == 200
    assert changed == {**created, "quantity": 4, "updated_at": changed["updated_at"]}
    assert changed["updated_at"] > created["updated_at"]
    assert (await client.get(PATH, params={"search": "雪"})).json()["data"] == [changed]

    response = await client.delete(place)
    assert (response.status_code, response.content) == (204, b"")
    assert (await client.get(place)).status_code == 404
    assert (await client.get(PATH)).json() == {"data": [], "next": None}


async def test_many_retries_at_once_create_one(client: httpx2.AsyncClient) -> None:
    headers = {"Idempotency-Key": str(uuid4())}
    tries = [client.post(PATH, json={"name": "lamp"}, headers=headers) for _ in range(8)]
    responses = await asyncio.gather(*tries)
    assert {response.status_code for response in responses} == {201}
    assert len({response.headers["location"] for response in responses}) == 1
    assert len((await client.get(PATH)).json()["data"]) == 1
