"""The probes."""

import httpx2
import pytest
from structlog.typing import EventDict

from .conftest import World


async def test_live_answers_whatever_is_down(client: httpx2.AsyncClient, world: World) -> None:
    world.database.down = world.limiter.down = True
    response = await client.get("/health/live")
    assert (response.status_code, response.json()) == (200, {"status": "live"})


async def test_ready_answers_200_while_both_servers_do(client: httpx2.AsyncClient) -> None:
    response = await client.get("/health/ready")
    assert (response.status_code, response.json()) == (200, {"status": "ready"})


@pytest.mark.parametrize("down", [["postgres"], ["redis"], ["postgres", "redis"]])
async def test_ready_answers_503_and_names_what_is_down(
    client: httpx2.AsyncClient, world: World, lines: list[EventDict], down: list[str]
) -> None:
    world.database.down = "postgres" in down
    world.limiter.down = "redis" in down
    response = await client.get("/health/ready")
    assert response.status_code == 503
    assert response.json()["error"]["message"] == f"down: {', '.join(down)}"
    assert response.json()["error"]["code"] == "unavailable"
    assert [line["server"] for line in lines if line["event"] == "down"] == down


async def test_ready_is_ready_again_once_the_server_is_back(
    client: httpx2.AsyncClient, world: World
) -> None:
    world.database.down = True
    assert (await client.get("/health/ready")).status_code == 503
    world.database.down = False
    assert (await client.get("/health/ready")).status_code == 200
