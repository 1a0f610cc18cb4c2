"""The application on real servers: in this process, and in one of its own."""

from collections.abc import AsyncIterator, Iterator

import httpx2
import pytest

from stratakit.testing import Service, serving

from {{ cookiecutter.__package }} import ports
from {{ cookiecutter.__package }}.app import create_app
from {{ cookiecutter.__package }}.settings import PREFIX


@pytest.fixture
async def client(
    postgres_repository: ports.Repository,
    redis_idempotency: ports.IdempotencyStore,
) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of the application."""
    app = create_app(ports.Ports(postgres_repository, redis_idempotency))
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://service") as client:
        yield client


@pytest.fixture(scope="session")
def service(
    postgres_url: str,
    redis_url: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Service]:
    """The service, started with no more settings than it needs."""
    settings = {"DATABASE_URL": postgres_url, "REDIS_URL": redis_url}
    folder = tmp_path_factory.mktemp("service")
    with serving("{{ cookiecutter.__package }}", settings, prefix=PREFIX, folder=folder) as service:
        yield service


@pytest.fixture(scope="session", autouse=True)
def _ahead(request: pytest.FixtureRequest) -> None:
    """Start the service with the first test, so that it is up when its own test comes."""
    if any("service" in getattr(item, "fixturenames", ()) for item in request.session.items):
        request.getfixturevalue("service")
