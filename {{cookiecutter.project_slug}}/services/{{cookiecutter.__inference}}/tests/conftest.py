"""Fixtures for the tests of every tier: the adapters on real servers.

They import adapters when they are used, so that the unit tier does not spend time on it.
"""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest

from servicebase import testing

from gateway import ports

from .fakes.clock import MemoryClock

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from gateway.adapters.redis import Client

engine = testing.engine


@pytest.fixture
def postgres_database(engine: "AsyncEngine") -> ports.Database:
    """The database adapter of production."""
    from gateway.adapters import postgres

    return postgres.PostgresDatabase(engine)


@pytest.fixture
def clock() -> MemoryClock:
    """A clock that the test advances."""
    return MemoryClock()


@pytest.fixture(scope="session")
async def redis_client(redis_url: str) -> AsyncIterator["Client"]:
    """A client with connections to this worker's own Redis database."""
    from gateway.adapters.redis import Client

    async with Client(redis_url, timeout=testing.TIMEOUT) as client:
        yield client


@pytest.fixture
async def redis_limiter(redis_client: "Client", clock: MemoryClock) -> AsyncIterator[ports.Limiter]:
    """The limiter adapter of production, with the test's clock."""
    from gateway.adapters.redis import RedisLimiter

    limiter = RedisLimiter(redis_client, clock)
    yield limiter
    # A pending correction would change the counts of the next test.
    await limiter.flush()
