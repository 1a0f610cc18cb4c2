"""The database in memory, beyond its contract."""

from datetime import UTC, datetime
from operator import attrgetter
from uuid import UUID

import pytest

from gateway import errors
from gateway.domain import Config, NewTeam

from ..fakes.clock import MemoryClock
from ..fakes.database import MemoryDatabase

ID = UUID(int=7)


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("teams.create", (NewTeam(name="lamp"),)),
        ("users.get", (ID,)),
        ("aliases.update", (ID, {})),
        ("quotas.remove", (ID,)),
        ("register", (NewTeam(name="lamp"), "ann@example.org", "hash")),
        ("users.by_email", ("ann@example.org",)),
        ("users.session", ("hash",)),
        ("users.end_session", ("hash",)),
        ("config", ()),
        ("add_config", (Config(),)),
        ("grant", ("hash",)),
        ("aliases.routes", (ID,)),
        ("aliases.versions", (ID,)),
        ("spending.settle", (ID, 1)),
        ("ping", ()),
    ],
)
async def test_every_call_fails_while_it_is_down(
    method: str, arguments: tuple[object, ...]
) -> None:
    database = MemoryDatabase()
    database.down = True
    with pytest.raises(errors.UnavailableError):
        await attrgetter(method)(database)(*arguments)
    with pytest.raises(errors.UnavailableError):
        await database.keys.page(limit=1)


async def test_what_is_created_bears_the_time_of_the_clock() -> None:
    start = datetime(2030, 1, 1, tzinfo=UTC)
    database = MemoryDatabase(MemoryClock(start))
    assert (await database.teams.create(NewTeam(name="lamp"))).created_at == start
