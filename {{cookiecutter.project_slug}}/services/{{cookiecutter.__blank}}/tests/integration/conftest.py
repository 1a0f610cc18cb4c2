"""The application on real servers: in this process, and in one of its own."""

import pytest
from fastapi import FastAPI

from servicebase import testing
from servicebase.idempotency import IdempotencyStore

from {{ cookiecutter.__package }} import ports
from {{ cookiecutter.__package }}.app import create_app
from {{ cookiecutter.__package }}.settings import PREFIX

redis_idempotency = testing.redis_idempotency
settings = testing.settings
service = testing.service("{{ cookiecutter.__package }}", PREFIX)
ahead = testing.ahead


@pytest.fixture
def app(
    postgres_repository: ports.{{ cookiecutter.__class }}Repository,
    redis_idempotency: IdempotencyStore,
) -> FastAPI:
    """The application."""
    return create_app(ports.Ports(postgres_repository, redis_idempotency))
