"""What the tests of every tier share: the adapters on real servers, for those who ask.

They are imported then, since the unit tier does without them and the time that they take.
"""

from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING

import pytest

from servicebase import testing

from gateway import ports
from gateway.adapters.memory.clock import MemoryClock

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from gateway.adapters.redis.connection import Client
    from gateway.adapters.redis.limiter import RedisLimiter

    from .engine.server import Engine

engine = testing.engine


@pytest.fixture
def postgres_database(engine: "AsyncEngine") -> ports.Database:
    """The database as it runs in production."""
    from gateway.adapters import postgres

    return postgres.PostgresDatabase(engine)


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[Engine]":
    """A real inference engine, with a model of its own."""
    from .engine.server import running

    with running(tmp_path_factory.mktemp("llama")) as engine:
        yield engine


@pytest.fixture(scope="session")
async def openai_backend(llama: "Engine") -> AsyncIterator[ports.InferenceBackend]:
    """The backend as it runs in production, on the real engine."""
    from gateway.adapters.openai import OpenAIBackend

    async with llama.client() as client:
        yield OpenAIBackend(client)


@pytest.fixture
def clock() -> MemoryClock:
    """The time, which the test turns."""
    return MemoryClock()


@pytest.fixture(scope="session")
async def redis_client(redis_url: str) -> AsyncIterator["Client"]:
    """Connections to this worker's own Redis database."""
    from gateway.adapters.redis import connection

    client = connection.connect(redis_url, timeout=testing.TIMEOUT)
    yield client
    await client.aclose()


@pytest.fixture
async def redis_config(redis_client: "Client") -> AsyncIterator[ports.ConfigStore]:
    """The config store as it runs in production; what is published ends with the test."""
    from gateway.adapters.redis.config import RedisConfigStore

    from .updates import withdraw

    yield RedisConfigStore(redis_client)
    await withdraw(redis_client)


@pytest.fixture
async def redis_limiter(
    redis_client: "Client", clock: MemoryClock
) -> "AsyncIterator[RedisLimiter]":
    """The limiter as it runs in production, but for the time."""
    from gateway.adapters.redis.limiter import RedisLimiter

    limiter = RedisLimiter(redis_client, clock)
    yield limiter
    # Else it would correct, in the middle of the next test, what that one has counted.
    await limiter.flush()


@pytest.fixture
def redis_sessions(redis_client: "Client", clock: MemoryClock) -> ports.Sessions:
    """The revoked tokens as they are kept in production, but for the time."""
    from gateway.adapters.redis.sessions import RedisSessions

    return RedisSessions(redis_client, clock)
