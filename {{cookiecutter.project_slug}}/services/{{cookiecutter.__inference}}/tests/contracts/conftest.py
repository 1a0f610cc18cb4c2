"""Each port, once for every adapter that it has."""

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
    """The database as unit tests use it."""
    return MemoryDatabase(SystemClock())


@pytest.fixture
def memory_announcements() -> MemoryAnnouncements:
    """The announcements as unit tests use them."""
    return MemoryAnnouncements()


@pytest.fixture
def limiter(
    request: pytest.FixtureRequest, announcements: ports.Announcements, clock: MemoryClock
) -> ports.Limiter:
    """A limiter, each of them, which reads the version of those announcements."""
    if isinstance(announcements, MemoryAnnouncements):
        return MemoryLimiter(clock, announcements)
    found: ports.Limiter = request.getfixturevalue("redis_limiter")
    return found
