"""The gateway as it is started in production, and clients of it."""

from collections.abc import AsyncIterator

import httpx2
import pytest

from stratakit.testing import Service, services

from .people import ADMIN_TOKEN, ANN, SECRET, Connect, Team, connecting


@pytest.fixture(scope="session")
def settings(postgres_url: str, redis_url: str) -> dict[str, str]:
    """The minimal settings of a gateway."""
    servers = {"DATABASE_URL": postgres_url, "REDIS_URL": redis_url}
    return {**servers, "ADMIN_TOKEN": ADMIN_TOKEN, "SECRET": SECRET}


service = services.fixture("gateway")
ahead = services.ahead


@pytest.fixture
async def connect(service: Service) -> AsyncIterator[Connect]:
    """A factory of clients of the gateway, once it is ready."""
    async with connecting(service) as connect:
        yield connect


@pytest.fixture
def anybody(connect: Connect) -> httpx2.AsyncClient:
    """A client without a credential."""
    return connect(None)


@pytest.fixture
def admin(connect: Connect) -> httpx2.AsyncClient:
    """A client with the administrators' credential."""
    return connect(ADMIN_TOKEN)


@pytest.fixture
async def team(admin: httpx2.AsyncClient) -> Team:
    """A team without a quota and without a budget."""
    return await Team.make(admin)


@pytest.fixture
def client(connect: Connect, team: Team) -> httpx2.AsyncClient:
    """A client with the team's API key."""
    return connect(team.key)


@pytest.fixture
async def ann(anybody: httpx2.AsyncClient, connect: Connect) -> httpx2.AsyncClient:
    """A client of Ann, who has registered and logged in."""
    registered = await anybody.post("/auth/register", json={"team": "Blue", **ANN})
    assert registered.status_code == 201
    return connect((await anybody.post("/auth/login", json=ANN)).json()["token"])
