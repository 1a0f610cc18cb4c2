"""Fixtures shared by all tiers. Tests in integration/ have an application on real servers."""

from typing import TYPE_CHECKING

import pytest
from fastapi import FastAPI

from servicebase import testing
from servicebase.idempotency import MemoryIdempotency

from {{ cookiecutter.__package }} import ports
from {{ cookiecutter.__package }}.adapters import memory
from {{ cookiecutter.__package }}.app import create_app

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

engine = testing.engine
redis_client = testing.redis_client
memory_idempotency = testing.memory_idempotency
client = testing.client


@pytest.fixture
def memory_repository() -> memory.MemoryRepository:
    """The repository in memory."""
    return memory.MemoryRepository()


@pytest.fixture
def postgres_repository(engine: "AsyncEngine") -> ports.{{ cookiecutter.__class }}Repository:
    """The repository as it runs in production."""
    from sqlalchemy.ext.asyncio import async_sessionmaker

    from {{ cookiecutter.__package }}.adapters import postgres

    return postgres.PostgresRepository(async_sessionmaker(engine))


@pytest.fixture
def app(
    memory_repository: memory.MemoryRepository, memory_idempotency: MemoryIdempotency
) -> FastAPI:
    """The application on adapters in memory."""
    return create_app(ports.Ports(memory_repository, memory_idempotency))
