"""The gateway as it is started in production, and clients of it."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

import httpx2
import pytest

from ops.testing import Service, serving

from gateway.settings import PREFIX

from .people import ADMIN_TOKEN, SECRET, Connect, Team


@pytest.fixture(scope="session")
def settings(postgres_url: str, redis_url: str) -> dict[str, str]:
    """No more settings than a gateway needs."""
    return {
        "DATABASE_URL": postgres_url,
        "REDIS_URL": redis_url,
        "ADMIN_TOKEN": ADMIN_TOKEN,
        "SECRET": SECRET,
    }


@pytest.fixture(scope="session")
def service(
    settings: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """The gateway as it is started in production."""
    folder = tmp_path_factory.mktemp("service")
    with serving("gateway", settings, prefix=PREFIX, folder=folder) as service:
        yield service


@pytest.fixture(scope="session", autouse=True)
def _ahead(request: pytest.FixtureRequest) -> None:
    """Start the service with the first test, so that it is up when its own tests come."""
    if any("service" in getattr(item, "fixturenames", ()) for item in request.session.items):
        request.getfixturevalue("service")


@pytest.fixture
async def connect(service: Service) -> AsyncIterator[Connect]:
    """Make clients of the gateway, which is ready."""
    await service.ready()
    async with AsyncExitStack() as stack:
        clients = []

        def make(credential: str | None) -> httpx2.AsyncClient:
            headers = {"Authorization": f"Bearer {credential}"} if credential else {}
            clients.append(httpx2.AsyncClient(base_url=service.url, headers=headers, timeout=30))
            stack.push_async_callback(clients[-1].aclose)
            return clients[-1]

        yield make


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
