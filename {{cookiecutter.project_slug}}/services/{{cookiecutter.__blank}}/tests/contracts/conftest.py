"""Each port, once for every adapter that it has.

The fake is held to the contract in the unit tier, the real one in the integration tier.
"""

import pytest

from {{ cookiecutter.__package }} import ports
from {{ cookiecutter.__package }}.adapters import memory


@pytest.fixture
def memory_repository() -> ports.Repository:
    """The repository as unit tests use it."""
    return memory.MemoryRepository()


@pytest.fixture
def memory_idempotency() -> ports.IdempotencyStore:
    """The idempotency store as unit tests use it."""
    return memory.MemoryIdempotency()


@pytest.fixture(params=["memory", pytest.param("postgres", marks=pytest.mark.integration)])
def repository(request: pytest.FixtureRequest) -> ports.Repository:
    """A repository, each of them."""
    found: ports.Repository = request.getfixturevalue(f"{request.param}_repository")
    return found


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.integration)])
def idempotency(request: pytest.FixtureRequest) -> ports.IdempotencyStore:
    """An idempotency store, each of them."""
    found: ports.IdempotencyStore = request.getfixturevalue(f"{request.param}_idempotency")
    return found
