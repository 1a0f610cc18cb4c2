"""What the tests of every tier share: the kit's fixtures, and the repository on each adapter."""

from typing import TYPE_CHECKING

import pytest

from servicebase import testing

from {{ cookiecutter.__package }} import ports
from {{ cookiecutter.__package }}.adapters import memory

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

engine = testing.engine
redis_client = testing.redis_client
client = testing.client


@pytest.fixture
def memory_repository() -> memory.MemoryRepository:
    """The repository without a server."""
    return memory.MemoryRepository()


@pytest.fixture
def postgres_repository(engine: "AsyncEngine") -> ports.{{ cookiecutter.__class }}Repository:
    """The repository as it runs in production."""
    from sqlalchemy.ext.asyncio import async_sessionmaker

    from {{ cookiecutter.__package }}.adapters import postgres

    return postgres.PostgresRepository(async_sessionmaker(engine))
