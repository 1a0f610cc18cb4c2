"""Fixtures shared by all tiers: an application on fakes, and real servers."""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest
from fastapi import FastAPI

from servicebase import testing
from servicebase.idempotency import MemoryIdempotency

from .notes import MemoryNotes, Notes, create_app

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

engine = testing.engine
redis_client = testing.redis_client
memory_idempotency = testing.memory_idempotency
redis_idempotency = testing.redis_idempotency
client = testing.client
lines = testing.lines


@pytest.fixture
def memory_notes() -> MemoryNotes:
    """The application's repository, in memory."""
    return MemoryNotes()


@pytest.fixture
def app(memory_notes: MemoryNotes, memory_idempotency: MemoryIdempotency) -> FastAPI:
    """An application built from the kit."""
    return create_app(memory_notes, memory_idempotency)


@pytest.fixture
async def tables(engine: "AsyncEngine") -> AsyncIterator[None]:
    """The tables of models.py, for one test."""
    from .models import Base

    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    yield
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.drop_all)


@pytest.fixture
def postgres_notes(engine: "AsyncEngine", tables: None) -> Notes:
    """The repository on PostgreSQL."""
    from sqlalchemy.ext.asyncio import async_sessionmaker

    from .models import PostgresNotes

    return PostgresNotes(async_sessionmaker(engine))
