"""What the tests of every tier share: the adapters on real servers, for those who ask.

Adapters are imported then, since the unit tier does without them and the time that they take.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from servicebase import testing
from stratakit.testing import eventually

from gateway import ports

from .fakes.clock import MemoryClock

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from gateway.adapters.redis.connection import Client

engine = testing.engine


@pytest.fixture
def postgres_database(engine: "AsyncEngine") -> ports.Database:
    """The database as it runs in production."""
    from gateway.adapters import postgres

    return postgres.PostgresDatabase(engine)


@pytest.fixture
def clock() -> MemoryClock:
    """The time, which the test turns."""
    return MemoryClock()


@pytest.fixture(scope="session")
async def redis_client(redis_url: str) -> AsyncIterator["Client"]:
    """Connections to this worker's own Redis database."""
    from gateway.adapters.redis import connection

    async with connection.connect(redis_url, timeout=testing.TIMEOUT) as client:
        yield client


@pytest.fixture
def redis_announcements(redis_client: "Client") -> ports.Announcements:
    """The announcements as they are made in production."""
    from gateway.adapters.redis.announcements import RedisAnnouncements

    return RedisAnnouncements(redis_client)


@pytest.fixture
async def redis_limiter(redis_client: "Client", clock: MemoryClock) -> AsyncIterator[ports.Limiter]:
    """The limiter as it runs in production, but for the time."""
    from gateway.adapters.redis.limiter import RedisLimiter

    limiter = RedisLimiter(redis_client, clock)
    yield limiter
    # Else it would correct, in the middle of the next test, what that one has counted.
    await limiter.flush()


@asynccontextmanager
async def following(announcements: ports.Announcements) -> AsyncIterator[list[str]]:
    """Yield a list to which each version is added that is another, once it has the first."""
    seen: list[str] = []

    async def follow() -> None:
        async for version in announcements.versions():
            if seen[-1:] != [version]:
                seen.append(version)

    task = asyncio.create_task(follow())
    try:
        await eventually(lambda: seen)
        yield seen
    finally:
        task.cancel()
        await asyncio.wait([task])
