"""Each port, once for every adapter that it has: the fake in the unit tier, the real one not."""

import pytest

from {{ cookiecutter.__package }} import ports
from {{ cookiecutter.__package }}.adapters.memory import MemoryRepository


@pytest.fixture(params=["memory", pytest.param("postgres", marks=pytest.mark.integration)])
def repository(request: pytest.FixtureRequest) -> ports.{{ cookiecutter.__class }}Repository:
    """A repository, each of them."""
    real = request.param == "postgres"
    return request.getfixturevalue("postgres_repository") if real else MemoryRepository()
