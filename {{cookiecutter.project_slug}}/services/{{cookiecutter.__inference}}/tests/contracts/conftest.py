"""Fixtures of the ports, with each of their adapters."""

import pytest

from stratakit.testing import contracts

from gateway import ports
from gateway.adapters.clock import SystemClock

from ..fakes.clock import MemoryClock
from ..fakes.database import MemoryDatabase
from ..fakes.redis import MemoryAnnouncements, MemoryLimiter

database = contracts.adapters("memory_database", "postgres_database")
announcements = contracts.adapters("memory_announcements", "redis_announcements")


@pytest.fixture
def memory_database() -> ports.Database:
    """The database of the unit tests."""
    return MemoryDatabase(SystemClock())


@pytest.fixture
def memory_announcements() -> MemoryAnnouncements:
    """The announcements of the unit tests."""
    return MemoryAnnouncements()


@pytest.fixture
def limiter(
    request: pytest.FixtureRequest, announcements: ports.Announcements, clock: MemoryClock
) -> ports.Limiter:
    """The limiter that belongs to the announcements, whose version it reads."""
    if isinstance(announcements, MemoryAnnouncements):
        return MemoryLimiter(clock, announcements)
    found: ports.Limiter = request.getfixturevalue("redis_limiter")
    return found
