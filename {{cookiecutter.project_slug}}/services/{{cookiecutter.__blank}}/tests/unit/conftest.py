"""The application on adapters in memory."""

from collections.abc import AsyncIterator, Iterator

import httpx2
import pytest
import structlog
from fastapi import FastAPI
from structlog.contextvars import merge_contextvars
from structlog.typing import EventDict

from {{ cookiecutter.__package }} import ports
from {{ cookiecutter.__package }}.adapters import memory
from {{ cookiecutter.__package }}.app import create_app


@pytest.fixture
def repository() -> memory.MemoryRepository:
    """What the application keeps."""
    return memory.MemoryRepository()


@pytest.fixture
def idempotency() -> memory.MemoryIdempotency:
    """The idempotency keys that the application has seen."""
    return memory.MemoryIdempotency()


@pytest.fixture
def app(
    repository: memory.MemoryRepository,
    idempotency: memory.MemoryIdempotency,
) -> FastAPI:
    """The application."""
    return create_app(ports.Ports(repository, idempotency))


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of the application, in this process."""
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://service") as client:
        yield client


@pytest.fixture
def lines() -> Iterator[list[EventDict]]:
    """What is logged during the test."""
    with structlog.testing.capture_logs([merge_contextvars]) as lines:
        yield lines
