"""What the tests of every tier share: the adapters on real servers, for those who ask.

They are imported then, since the unit tier does without them and the time that they take.
"""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import hypothesis
import pytest

from stratakit.settings import Settings

from {{ cookiecutter.__package }} import ports

if TYPE_CHECKING:
    from redis.asyncio import Redis
    from sqlalchemy.ext.asyncio import AsyncEngine

TIMEOUT = 5.0
TTL = 60

# No deadline, since a busy machine is no bug; no database of examples, since that is state.
hypothesis.settings.register_profile("service", deadline=None, database=None, max_examples=25)
hypothesis.settings.load_profile("service")


@pytest.fixture(scope="session")
async def engine(postgres_url: str, test_settings: Settings) -> AsyncIterator["AsyncEngine"]:
    """Connections to this worker's own database."""
    from {{ cookiecutter.__package }}.adapters import postgres

    engine = postgres.connect(
        postgres_url,
        pool_size=test_settings.pool_size,
        timeout=TIMEOUT,
    )
    yield engine
    await engine.dispose()


@pytest.fixture(scope="session")
async def redis_client(redis_url: str) -> AsyncIterator["Redis"]:
    """Connections to this worker's own Redis database."""
    from {{ cookiecutter.__package }}.adapters import redis

    client = redis.connect(redis_url, timeout=TIMEOUT)
    yield client
    await client.aclose()


@pytest.fixture
def postgres_repository(engine: "AsyncEngine") -> ports.Repository:
    """The repository as it runs in production."""
    from sqlalchemy.ext.asyncio import async_sessionmaker

    from {{ cookiecutter.__package }}.adapters import postgres

    return postgres.PostgresRepository(async_sessionmaker(engine))


@pytest.fixture
def redis_idempotency(redis_client: "Redis") -> ports.IdempotencyStore:
    """The idempotency store as it runs in production."""
    from {{ cookiecutter.__package }}.adapters import redis

    return redis.RedisIdempotency(redis_client, ttl=TTL)
