"""A real engine, the gateway before it, and a team that may use both."""

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
    """Make clients of that gateway: `admin` and `client` are, and `team` is there."""
    async with connecting(gateway) as connect:
        yield connect


@dataclass(frozen=True, slots=True)
class Access:
    """Connection settings for a client; the model is `small`."""

    url: str
    key: str


@pytest.fixture
async def priced(admin: httpx2.AsyncClient) -> AsyncIterator[None]:
    """Let the engine's model cost nothing, rather than be nobody's."""
    async with configured(admin, prices={"tiny": 0}):
        yield


@pytest.fixture
async def access(gateway: Service, admin: httpx2.AsyncClient, priced: None, team: Team) -> Access:
    """Let a team ask the engine."""
    del priced
    body = {"alias": "small", "target": "tiny", "provider": "openai"}
    await created(admin, "aliases", team_id=team.id, **body)
    return Access(f"{gateway.url}/v1", team.key)
