"""Changes that decide on requests: they are stored, and every process is told."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar
from uuid import UUID

from . import domain, ports

T = TypeVar("T")


async def publish_after(config: ports.ConfigStore, change: Callable[[], Awaitable[T]]) -> T:
    """Store what `change` stores, tell everybody, and return what it returned."""
    # Nothing is stored that nobody would be told of: elsewhere a revoked key would go on working.
    await config.ping()
    changed = await change()
    await config.publish_policy(team_of(changed))
    return changed


def team_of(thing: Any) -> UUID:
    """Return the id of the team that this belongs to, or is."""
    id_: UUID = thing.id if isinstance(thing, domain.Team) else thing.team_id
    return id_
