"""Application on real servers: in the tests' process, and in one of its own."""

import pytest
from fastapi import FastAPI

from servicebase import testing
from servicebase.idempotency import IdempotencyStore
from stratakit.testing import services

from {{ cookiecutter.__package }} import ports
from {{ cookiecutter.__package }}.app import create_app

redis_idempotency = testing.redis_idempotency
settings = services.settings
service = services.fixture("{{ cookiecutter.__service }}")
ahead = services.ahead


@pytest.fixture
def app(
    postgres_repository: ports.{{ cookiecutter.__class }}Repository,
    redis_idempotency: IdempotencyStore,
) -> FastAPI:
    """The application on real servers."""
    return create_app(ports.Ports(postgres_repository, redis_idempotency))
