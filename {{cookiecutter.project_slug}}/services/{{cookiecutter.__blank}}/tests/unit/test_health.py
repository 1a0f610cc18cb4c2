"""The probes."""

import httpx2
import pytest
from structlog.typing import EventDict

from {{ cookiecutter.__package }}.adapters import memory


async def test_live_answers_whatever_is_down(
    client: httpx2.AsyncClient,
    repository: memory.MemoryRepository,
    idempotency: memory.MemoryIdempotency,
) -> None:
    repository.down = idempotency.down = True
    response = await client.get("/health/live")
    assert (response.status_code, response.json()) == (200, {"status": "live"})


async def test_ready_answers_200_while_both_servers_do(client: httpx2.AsyncClient) -> None:
    response = await client.get("/health/ready")
    assert (response.status_code, response.json()) == (200, {"status": "ready"})


@pytest.mark.parametrize("down", [["postgres"], ["redis"], ["postgres", "redis"]])
async def test_ready_answers_503_and_names_what_is_down(
    client: httpx2.AsyncClient,
    repository: memory.MemoryRepository,
    idempotency: memory.MemoryIdempotency,
    lines: list[EventDict],
    down: list[str],
) -> None:
    repository.down = "postgres" in down
    idempotency.down = "redis" in down
    response = await client.get("/health/ready")
    assert response.status_code == 503
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["detail"] == f"down: {', '.join(down)}"
    assert [line["server"] for line in lines if line["event"] == "down"] == down


async def test_ready_is_ready_again_once_the_server_is_back(
    client: httpx2.AsyncClient,
    repository: memory.MemoryRepository,
) -> None:
    repository.down = True
    assert (await client.get("/health/ready")).status_code == 503
    repository.down = False
    assert (await client.get("/health/ready")).status_code == 200
