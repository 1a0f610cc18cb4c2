"""Each port, once for every adapter that it has."""

from collections.abc import Awaitable, Callable

import pytest

from stratakit.testing import contracts

from gateway import ports
from gateway.adapters.clock import SystemClock
from gateway.adapters.echo import EchoBackend, EchoSettings
from gateway.adapters.memory.clock import MemoryClock
from gateway.adapters.memory.config import MemoryConfigStore
from gateway.adapters.memory.database import MemoryDatabase
from gateway.adapters.memory.limiter import MemoryLimiter
from gateway.adapters.memory.sessions import MemorySessions

from .samples import SAMPLES, Sample

database = contracts.adapters("memory_database", "postgres_database")
backend = contracts.adapters("echo_backend", "openai_backend")


@pytest.fixture
def memory_database() -> ports.Database:
    """The database as unit tests use it."""
    return MemoryDatabase()


@pytest.fixture(params=SAMPLES, ids=lambda sample: str(sample.kind))
def sample(request: pytest.FixtureRequest) -> Sample:
    """A sample of each kind that a database keeps."""
    found: Sample = request.param
    return found


@pytest.fixture
def echo_backend() -> ports.InferenceBackend:
    """The backend as unit tests use it."""
    return EchoBackend(MemoryClock(), EchoSettings())


@pytest.fixture
def memory_config() -> MemoryConfigStore:
    """The config store as unit tests use it."""
    return MemoryConfigStore()


@pytest.fixture
def memory_limiter(clock: MemoryClock, memory_config: MemoryConfigStore) -> ports.Limiter:
    """The limiter as unit tests use it."""
    return MemoryLimiter(clock, memory_config)


@pytest.fixture
def memory_sessions(clock: MemoryClock) -> ports.Sessions:
    """The revoked tokens as unit tests use them."""
    return MemorySessions(clock)


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.integration)])
def store(request: pytest.FixtureRequest) -> str:
    """What the config store, the limiter and the sessions of a test are on."""
    return str(request.param)


@pytest.fixture
def config(request: pytest.FixtureRequest, store: str) -> ports.ConfigStore:
    """A config store, each of them."""
    found: ports.ConfigStore = request.getfixturevalue(f"{store}_config")
    return found


@pytest.fixture
def limiter(request: pytest.FixtureRequest, store: str) -> ports.Limiter:
    """A limiter, each of them, which reads the policy of that config store."""
    found: ports.Limiter = request.getfixturevalue(f"{store}_limiter")
    return found


@pytest.fixture
def sessions(request: pytest.FixtureRequest, store: str) -> ports.Sessions:
    """What remembers revoked tokens, each of them."""
    found: ports.Sessions = request.getfixturevalue(f"{store}_sessions")
    return found


@pytest.fixture
def damage(request: pytest.FixtureRequest, store: str) -> Callable[[], Awaitable[None]]:
    """What makes the stored config unreadable."""

    async def damage() -> None:
        if store == "memory":
            request.getfixturevalue("memory_config").unreadable = True
        else:
            client = request.getfixturevalue("redis_client")
            await client.hset("gateway:config", "config", "{")

    return damage


@pytest.fixture(params=[SystemClock, MemoryClock])
def any_clock(request: pytest.FixtureRequest) -> ports.Clock:
    """A clock, each of them."""
    found: ports.Clock = request.param()
    return found
