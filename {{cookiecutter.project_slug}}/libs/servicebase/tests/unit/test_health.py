"""The probes."""

import httpx2
import pytest
from structlog.typing import EventDict

from servicebase.idempotency import MemoryIdempotency

from ..notes import MemoryNotes


async def test_live_answers_whatever_is_down(
    client: httpx2.AsyncClient,
    memory_notes: MemoryNotes,
    memory_idempotency: MemoryIdempotency,
) -> None:
    memory_notes.down = memory_idempotency.down = True
    response = await client.get("/health/live")
    assert (response.status_code, response.json()) == (200, {"status": "live"})


async def test_ready_answers_200_while_both_servers_do(client: httpx2.AsyncClient) -> None:
    response = await client.get("/health/ready")
    assert (response.status_code, response.json()) == (200, {"status": "ready"})


@pytest.mark.parametrize("down", [["notes"], ["keys"], ["notes", "keys"]])
async def test_ready_answers_503_and_names_what_is_down(
    client: httpx2.AsyncClient,
    memory_notes: MemoryNotes,
    memory_idempotency: MemoryIdempotency,
    lines: list[EventDict],
    down: list[str],
) -> None:
    memory_notes.down = "notes" in down
    memory_idempotency.down = "keys" in down
    response = await client.get("/health/ready")
    assert response.status_code == 503
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["detail"] == f"down: {', '.join(down)}"
    assert [line["server"] for line in lines if line["event"] == "down"] == down


async def test_ready_is_ready_again_once_the_server_is_back(
    client: httpx2.AsyncClient,
    memory_notes: MemoryNotes,
) -> None:
    memory_notes.down = True
    assert (await client.get("/health/ready")).status_code == 503
    memory_notes.down = False
    assert (await client.get("/health/ready")).status_code == 200
