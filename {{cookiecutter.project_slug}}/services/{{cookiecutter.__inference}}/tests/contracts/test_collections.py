"""The contract of `Collection`, for each kind: one that is created, read, changed and removed."""

import asyncio
from dataclasses import asdict
from datetime import UTC, datetime
from uuid import UUID

import pytest

from servicebase.repository import Entity
from stratakit.testing import contracts

from gateway import errors
from gateway.ports import Database

from . import samples
from .samples import Sample

FIELDS = {"id", "created_at", "updated_at", "spent_microcents", "revoked_at", "version"}


def given(stored: Entity) -> dict[str, object]:
    """Return what its creator decided."""
    return {name: value for name, value in asdict(stored).items() if name not in FIELDS}


async def test_what_is_created_can_be_read(database: Database, sample: Sample) -> None:
    new = await sample.new(database, "lamp")
    created = await sample.among(database).create(new)
    assert given(created) == asdict(new)
    assert await sample.among(database).get(created.id) == created


async def test_a_new_one_was_never_updated(database: Database, sample: Sample) -> None:
    [created] = await sample.create(database, "lamp")
    assert created.created_at == created.updated_at
    assert created.created_at.tzinfo is not None


async def test_what_is_not_there_cannot_be_read_changed_or_removed(
    database: Database, sample: Sample
) -> None:
    collection = sample.among(database)
    for changes in ({}, sample.changes):
        with pytest.raises(errors.NotFoundError):
            await collection.update(UUID(int=7), changes)
    with pytest.raises(errors.NotFoundError):
        await collection.get(UUID(int=7))
    with pytest.raises(errors.NotFoundError):
        await collection.remove(UUID(int=7))


async def test_what_is_removed_is_gone(database: Database, sample: Sample) -> None:
    created, other = await sample.create(database, "lamp", "desk")
    await sample.among(database).remove(created.id)
    with pytest.raises(errors.NotFoundError):
        await sample.among(database).get(created.id)
    assert await sample.among(database).get(other.id) == other


async def test_an_update_changes_only_what_it_names(database: Database, sample: Sample) -> None:
    before, other = await sample.create(database, "lamp", "desk")
    after = await sample.among(database).update(before.id, sample.changes)
    assert given(after) == {**given(before), **sample.changes}
    assert (after.id, after.created_at) == (before.id, before.created_at)
    assert await sample.among(database).get(before.id) == after
    assert await sample.among(database).get(other.id) == other


async def test_an_update_can_replace_each_field(database: Database, sample: Sample) -> None:
    [before] = await sample.create(database, "lamp")
    new = await sample.new(database, "desk")
    theirs = {name: value for name, value in asdict(new).items() if name.endswith("_id")}
    changes = asdict(contracts.filled(type(new), unlike=before, **theirs))
    after = await sample.among(database).update(before.id, changes)
    assert given(after) == changes
    assert await sample.among(database).get(before.id) == after


async def test_an_update_moves_updated_at(database: Database, sample: Sample) -> None:
    [before] = await sample.create(database, "lamp")
    after = await sample.among(database).update(before.id, sample.changes)
    assert after.updated_at > before.updated_at


async def test_an_update_of_nothing_changes_nothing(database: Database, sample: Sample) -> None:
    [before] = await sample.create(database, "lamp")
    assert await sample.among(database).update(before.id, {}) == before
    assert await sample.among(database).get(before.id) == before


async def test_updates_of_different_fields_at_once_are_both_kept(database: Database) -> None:
    team = await samples.team(database)
    await asyncio.gather(
        database.teams.update(team.id, {"name": "lamp"}),
        database.teams.update(team.id, {"budget_cents": 5}),
    )
    after = await database.teams.get(team.id)
    assert (after.name, after.budget_cents) == ("lamp", 5)


async def test_a_key_can_be_revoked_and_its_end_moved(database: Database) -> None:
    [key] = await samples.of("keys").create(database, "lamp")
    assert key.good(datetime.now(UTC))
    end = datetime(2030, 1, 1, tzinfo=UTC)
    changes = {"revoked_at": end, "expires_at": end}
    after = await database.keys.update(key.id, changes)
    assert (after.revoked_at, after.expires_at) == (end, end)


async def test_an_id_of_another_kind_is_of_nothing(database: Database, sample: Sample) -> None:
    [created] = await sample.create(database, "lamp")
    for other in samples.SAMPLES:
        if other is not sample:
            with pytest.raises(errors.NotFoundError):
                await other.among(database).get(created.id)


async def test_a_database_that_is_there_answers(database: Database) -> None:
    await database.ping()
