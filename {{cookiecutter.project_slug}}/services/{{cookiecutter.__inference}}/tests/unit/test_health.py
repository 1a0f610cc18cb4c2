"""The probes."""

import httpx2
import pytest
from structlog.typing import EventDict

from .conftest import World


@pytest.mark.parametrize("down", [["postgres"], ["redis"], ["postgres", "redis"]])
async def test_ready_answers_503_and_names_what_is_down_until_it_is_back(
    client: httpx2.AsyncClient, world: World, lines: list[EventDict], down: list[str]
) -> None:
    world.database.down = "postgres" in down
    world.limiter.down = "redis" in down
    response = await client.get("/health/ready")
    assert response.status_code == 503
    assert response.json()["error"]["message"] == f"down: {', '.join(down)}"
    assert response.json()["error"]["code"] == "unavailable"
    assert [line["server"] for line in lines if line["event"] == "down"] == down
    live = await client.get("/health/live")
    assert (live.status_code, live.json()) == (200, {"status": "live"})
    world.database.down = world.limiter.down = False
    response = await client.get("/health/ready")
    assert (response.status_code, response.json()) == (200, {"status": "ready"})
