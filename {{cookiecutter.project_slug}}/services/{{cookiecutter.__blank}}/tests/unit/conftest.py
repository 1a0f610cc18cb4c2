"""The application on adapters in memory."""

import pytest
from fastapi import FastAPI

from servicebase import testing
from servicebase.idempotency import MemoryIdempotency

from {{ cookiecutter.__package }}.adapters.memory import MemoryRepository
from {{ cookiecutter.__package }}.app import create_app
from {{ cookiecutter.__package }}.ports import Ports

idempotency = testing.memory_idempotency


@pytest.fixture
def app(memory_repository: MemoryRepository, idempotency: MemoryIdempotency) -> FastAPI:
    """The application."""
    return create_app(Ports(memory_repository, idempotency))
