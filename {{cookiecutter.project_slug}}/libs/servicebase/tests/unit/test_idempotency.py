"""What an Idempotency-Key does to a creation."""

import httpx2
import pytest

from servicebase.idempotency import MemoryIdempotency

from ..notes import PATH, MemoryNotes

KEY = {"Idempotency-Key": "key"}


async def test_a_key_creates_once(client: httpx2.AsyncClient, memory_notes: MemoryNotes) -> None:
    first = await client.post(PATH, json={"name": "lamp"}, headers=KEY)
    retry = await client.post(PATH, json={"name": " lamp", "quantity": 0}, headers=KEY)
    assert (first.status_code, retry.status_code) == (201, 201)
    assert retry.json() == first.json()
    assert len(await memory_notes.page(limit=9)) == 1


async def test_a_key_of_another_body_answers_422(client: httpx2.AsyncClient) -> None:
    await client.post(PATH, json={"name": "lamp"}, headers=KEY)
    response = await client.post(PATH, json={"name": "desk"}, headers=KEY)
    assert response.status_code == 422
    assert "another body" in response.json()["detail"]


async def test_a_key_may_be_tried_again_after_a_failure(
    client: httpx2.AsyncClient, memory_notes: MemoryNotes
) -> None:
    memory_notes.down = True
    failed = await client.post(PATH, json={"name": "lamp"}, headers=KEY)
    memory_notes.down = False
    retry = await client.post(PATH, json={"name": "lamp"}, headers=KEY)
    assert (failed.status_code, retry.status_code) == (503, 201)


@pytest.mark.parametrize("key", ["", "k" * 256])
async def test_a_bad_key_answers_422(client: httpx2.AsyncClient, key: str) -> None:
    response = await client.post(PATH, json={"name": "x"}, headers={"Idempotency-Key": key})
    assert response.status_code == 422
    assert response.json()["errors"][0]["parameter"] == "Idempotency-Key"


async def test_while_the_store_is_down_nothing_is_created_with_a_key(
    client: httpx2.AsyncClient, memory_idempotency: MemoryIdempotency, memory_notes: MemoryNotes
) -> None:
    memory_idempotency.down = True
    assert (await client.post(PATH, json={"name": "lamp"}, headers=KEY)).status_code == 503
    assert not await memory_notes.page(limit=9)
    assert (await client.post(PATH, json={"name": "lamp"})).status_code == 201
