"""The contract of the aliases: their versions, and the way from a name to its model."""

import asyncio
from uuid import UUID

import pytest

from gateway import domain, errors
from gateway.ports import Database

from ..samples import SAMPLES


async def create(database: Database, alias: str = "lamp", **given: object) -> domain.ModelAlias:
    [created] = await SAMPLES["aliases"].add(database, alias, **given)
    found: domain.ModelAlias = created
    return found


async def test_each_update_that_changes_something_makes_a_version_and_the_older_ones_stay(
    database: Database,
) -> None:
    first = await create(database)
    await create(database, "taken", team_id=first.team_id)
    second = await database.aliases.update(first.id, {"target": "b", "tags": ("x",)}, version=1)
    third = await database.aliases.update(first.id, {"alias": "desk", "parameters": {"seed": 1}})
    assert [alias.version for alias in (first, second, third)] == [1, 2, 3]
    assert (third.target, third.tags) == ("b", ("x",))
    assert await database.aliases.update(first.id, {}, version=3) == third
    with pytest.raises(errors.ConflictError):
        await database.aliases.update(first.id, {"alias": "taken"})
    for version in (2, 4):
        for changes in ({}, {"target": "c"}):
            with pytest.raises(errors.VersionConflictError):
                await database.aliases.update(first.id, changes, version=version)
    assert list(await database.aliases.versions(first.id)) == [third, second, first]
    assert await database.aliases.get(first.id) == third
    await database.aliases.remove(first.id)
    with pytest.raises(errors.NotFoundError):
        await database.aliases.versions(first.id)
    for changes in ({}, {"target": "c"}):
        for seen in (None, 3):
            with pytest.raises(errors.NotFoundError):
                await database.aliases.update(first.id, changes, version=seen)


@pytest.mark.parametrize(("seen", "newest"), [(1, 2), (None, 9)])
async def test_of_many_updates_at_once_one_wins_a_version_and_all_win_without_one(
    database: Database, seen: int | None, newest: int
) -> None:
    alias = await create(database)
    ended = await asyncio.gather(
        *(database.aliases.update(alias.id, {"target": str(n)}, version=seen) for n in range(8)),
        return_exceptions=True,
    )
    made = [end for end in ended if isinstance(end, domain.ModelAlias)]
    newest_first = sorted(made, key=lambda each: each.version, reverse=True)
    assert list(await database.aliases.versions(alias.id)) == [*newest_first, alias]
    assert [each.version for each in newest_first] == [*range(newest, 1, -1)]
    assert sum(isinstance(end, errors.VersionConflictError) for end in ended) == 9 - newest


async def test_the_routes_of_a_team_are_its_aliases_by_name(database: Database) -> None:
    first = await create(database)
    # Of another team, which may have the same names.
    await create(database)
    second = await create(database, "desk", team_id=first.team_id)
    assert await database.aliases.routes(first.team_id) == {"lamp": first, "desk": second}
    newest = await database.aliases.update(first.id, {"alias": "light"})
    assert await database.aliases.routes(first.team_id) == {"light": newest, "desk": second}
    assert await database.aliases.routes(UUID(int=7)) == {}
