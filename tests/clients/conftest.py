"""A real engine, the gateway in front of it, and a team that may use both."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import httpx2
import pytest
from gateway.adapters.openai import OpenAIBackend
from gateway.ports import InferenceBackend
from gateway.settings import PREFIX
from stratakit.testing import Service, serving

from ..people import Connect, Team, configured, connecting, created
from .server import KEY, Engine, running


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """llama.cpp, with a model of its own."""
    with running(tmp_path_factory.mktemp("llama")) as engine:
        yield engine


@pytest.fixture(scope="session")
async def openai_backend(llama: Engine) -> AsyncIterator[InferenceBackend]:
    """The backend as it runs in production, on the real engine."""
    async with llama.client() as client:
        yield OpenAIBackend(client)


@pytest.fixture(scope="session")
def gateway(
    settings: dict[str, str], llama: Engine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """A gateway with the provider `openai`."""
    more = {"OPENAI_URL": f"{llama.url}/v1", "OPENAI_API_KEY": KEY}
    folder = tmp_path_factory.mktemp("gateway")
    with serving("gateway", settings | more, prefix=PREFIX, folder=folder) as gateway:
        yield gateway


@pytest.fixture
async def connect(gateway: Service) -> AsyncIterator[Connect]:
    """Create clients of that gateway, on which `admin`, `client` and `team` are based."""
    async with connecting(gateway) as connect:
        yield connect


@dataclass(frozen=True, slots=True)
class Access:
    """Connection settings for a client; the model is `small`."""

    url: str
    key: str


@pytest.fixture
async def priced(admin: httpx2.AsyncClient) -> AsyncIterator[None]:
    """Set the price of the engine's model to 0; without a price it is refused."""
    async with configured(admin, prices={"tiny": 0}):
        yield


@pytest.fixture
async def access(gateway: Service, admin: httpx2.AsyncClient, priced: None, team: Team) -> Access:
    """Give a team access to the engine."""
    del priced
    body = {"alias": "small", "target": "tiny", "provider": "openai"}
    await created(admin, "aliases", team_id=team.id, **body)
    return Access(f"{gateway.url}/v1", team.key)
