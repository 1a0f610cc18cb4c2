"""Fixtures of the ports, with each of their adapters."""

import pytest

from stratakit.testing import contracts

from gateway import ports
from gateway.adapters.clock import SystemClock

from ..fakes.clock import MemoryClock
from ..fakes.database import MemoryDatabase
from ..fakes.redis import MemoryLimiter

database = contracts.adapters("memory_database", "postgres_database")
limiter = contracts.adapters("memory_limiter", "redis_limiter")


@pytest.fixture
def memory_database() -> ports.Database:
    """The database of the unit tests."""
    return MemoryDatabase(SystemClock())


@pytest.fixture
def memory_limiter(clock: MemoryClock) -> MemoryLimiter:
    """The limiter of the unit tests."""
    return MemoryLimiter(clock)
