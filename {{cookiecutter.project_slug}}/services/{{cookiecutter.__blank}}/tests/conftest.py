"""What the tests of every tier share: the kit's fixtures, and the repository on a real server."""

from typing import TYPE_CHECKING

import pytest

from servicebase import testing

from {{ cookiecutter.__package }} import ports

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

engine = testing.engine
redis_client = testing.redis_client
client = testing.client


@pytest.fixture
def postgres_repository(engine: "AsyncEngine") -> ports.{{ cookiecutter.__class }}Repository:
    """The repository as it runs in production."""
    from sqlalchemy.ext.asyncio import async_sessionmaker

    from {{ cookiecutter.__package }}.adapters import postgres

    return postgres.PostgresRepository(async_sessionmaker(engine))
