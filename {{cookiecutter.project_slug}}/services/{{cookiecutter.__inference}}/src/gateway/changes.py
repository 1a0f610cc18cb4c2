"""Changes that decide on requests: they are stored, and every process is told."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from . import ports

T = TypeVar("T")


async def announced(announcements: ports.Announcements, change: Callable[[], Awaitable[T]]) -> T:
    """Store what `change` stores, tell everybody, and return what it returned."""
    # Nothing is stored that nobody would be told of: elsewhere a revoked key would go on working.
    await announcements.ping()
    changed = await change()
    await announcements.announce()
    return changed
