"""Each port, once for every adapter that it has."""

import pytest

from stratakit.testing import contracts

from gateway import ports
from gateway.adapters.clock import SystemClock

from ..fakes.announcements import MemoryAnnouncements
from ..fakes.clock import MemoryClock
from ..fakes.database import MemoryDatabase
from ..fakes.limiter import MemoryLimiter

database = contracts.adapters("memory_database", "postgres_database")
announcements = contracts.adapters("memory_announcements", "redis_announcements")


@pytest.fixture
def memory_database() -> ports.Database:
    """The database as unit tests use it."""
    return MemoryDatabase()


@pytest.fixture
def memory_announcements() -> MemoryAnnouncements:
    """The announcements as unit tests use them."""
    return MemoryAnnouncements()


@pytest.fixture
def memory_limiter(clock: MemoryClock, memory_announcements: MemoryAnnouncements) -> ports.Limiter:
    """The limiter as unit tests use it."""
    return MemoryLimiter(clock, memory_announcements)


@pytest.fixture
def limiter(request: pytest.FixtureRequest, announcements: ports.Announcements) -> ports.Limiter:
    """A limiter, each of them, which reads the version of those announcements."""
    kind = "memory" if isinstance(announcements, MemoryAnnouncements) else "redis"
    found: ports.Limiter = request.getfixturevalue(f"{kind}_limiter")
    return found


@pytest.fixture(params=[SystemClock, MemoryClock])
def any_clock(request: pytest.FixtureRequest) -> ports.Clock:
    """A clock, each of them."""
    found: ports.Clock = request.param()
    return found
