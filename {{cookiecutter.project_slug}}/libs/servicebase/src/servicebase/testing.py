"""Fixtures for the tests of a service, which names the ones it uses in its conftest.py.

    from servicebase import testing

    engine = testing.engine

So each service has its own, with its own database. Drivers are imported only in fixtures that need
them, to keep the unit tier fast.
"""

from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING

import httpx2
import hypothesis
import pytest
import structlog
from fastapi import FastAPI
from structlog.contextvars import merge_contextvars
from structlog.typing import EventDict

from stratakit.settings import Settings

from .idempotency import IdempotencyStore, MemoryIdempotency

if TYPE_CHECKING:
    from redis.asyncio import Redis
    from sqlalchemy.ext.asyncio import AsyncEngine

NAME = "tests"
TIMEOUT = 5.0

# No deadline, since a busy machine is not a bug; no database of examples, since that is state.
hypothesis.settings.register_profile("service", deadline=None, database=None, max_examples=25)
hypothesis.settings.load_profile("service")


@pytest.fixture(scope="session")
async def engine(postgres_url: str, test_settings: Settings) -> AsyncIterator["AsyncEngine"]:
    """Connections to this worker's own database."""
    from . import postgres

    pool_size = test_settings.pool_size
    engine = postgres.connect(postgres_url, name=NAME, pool_size=pool_size, timeout=TIMEOUT)
    yield engine
    await engine.dispose()


@pytest.fixture(scope="session")
async def redis_client(redis_url: str) -> AsyncIterator["Redis"]:
    """Connections to this worker's own Redis database."""
    from . import redis

    client = redis.connect(redis_url, timeout=TIMEOUT)
    yield client
    await client.aclose()


@pytest.fixture
def redis_idempotency(redis_client: "Redis") -> IdempotencyStore:
    """The idempotency store as it runs in production."""
    from . import redis

    return redis.RedisIdempotency(redis_client, prefix=f"{NAME}:", ttl=60)


@pytest.fixture
def memory_idempotency() -> MemoryIdempotency:
    """The application's idempotency store, in memory."""
    return MemoryIdempotency()


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of the fixture `app`, in the same process."""
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://service") as client:
        yield client


@pytest.fixture
def lines() -> Iterator[list[EventDict]]:
    """The log lines of the test, at every level."""
    # Earlier migrations in this process have set a level, which would apply here too.
    structlog.reset_defaults()
    with structlog.testing.capture_logs([merge_contextvars]) as lines:
        yield lines
