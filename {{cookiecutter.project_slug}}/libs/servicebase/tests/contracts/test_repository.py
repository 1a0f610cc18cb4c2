"""Contract of `Repository`, for both the fake and the real one.

integration/test_postgres_repository.py tests concurrent writers, which only PostgreSQL has.
"""

from dataclasses import asdict, replace
from typing import Any
from uuid import UUID, uuid4

import pytest

from servicebase import errors
from servicebase.pagination import Position
from stratakit.testing import contracts

from ..notes import NewNote, Note, NoteChanges, Notes

repository = contracts.adapters("memory_notes", "postgres_notes")


async def add(repository: Notes, *names: str) -> list[Note]:
    return [await repository.add(uuid4(), NewNote(name=name)) for name in names]


async def walk(repository: Notes, limit: int, search: str = "") -> list[str]:
    """Return the names on all pages."""
    names: list[str] = []
    after = None
    while page := await repository.page(limit=limit, after=after, search=search):
        names += [note.name for note in page]
        after = Position(page[-1].created_at, page[-1].id)
    return names


async def test_a_note_is_stored_and_adding_its_id_again_changes_nothing(repository: Notes) -> None:
    await repository.ping()
    new = contracts.filled(NewNote, attributes={"a": 1})
    added = await repository.add(UUID(int=7), new)
    assert asdict(added) == {**asdict(added), **asdict(new), "id": UUID(int=7)}
    assert added.created_at == added.updated_at
    assert added.created_at.tzinfo is not None
    assert await repository.add(UUID(int=7), NewNote(name="desk", quantity=9)) == added
    assert await repository.get(UUID(int=7)) == added


async def test_a_taken_name_is_a_conflict_that_changes_nothing(repository: Notes) -> None:
    _, other = await add(repository, "lamp", "desk")
    for attempt in (add(repository, "lamp"), repository.update(other.id, {"name": "lamp"})):
        with pytest.raises(errors.ConflictError) as caught:
            await attempt
        assert caught.value.field == "name"
    assert await repository.get(other.id) == other


async def test_a_missing_note_cannot_be_read_changed_or_removed(repository: Notes) -> None:
    for attempt in (
        repository.get(UUID(int=7)),
        repository.update(UUID(int=7), {"quantity": 1}),
        repository.update(UUID(int=7), {}),
        repository.remove(UUID(int=7)),
    ):
        with pytest.raises(errors.NotFoundError, match=f"there is no note {UUID(int=7)}"):
            await attempt


async def test_a_removed_note_is_gone_and_its_name_is_free_again(repository: Notes) -> None:
    note, other = await add(repository, "lamp", "desk")
    await repository.remove(note.id)
    with pytest.raises(errors.NotFoundError):
        await repository.get(note.id)
    assert await repository.get(other.id) == other
    await add(repository, "lamp")


async def test_an_update_replaces_only_the_given_fields_each_as_a_whole(repository: Notes) -> None:
    before = await repository.add(uuid4(), contracts.filled(NewNote, attributes={"a": 1}))
    assert await repository.update(before.id, {}) == before
    for name, value in contracts.filled(NoteChanges, unlike=before).items():
        change: Any = {name: value}
        after = await repository.update(before.id, change)
        assert after == replace(before, updated_at=after.updated_at, **change)
        assert after.updated_at > before.updated_at
        assert await repository.get(before.id) == after
        # An unchanged value does not conflict with itself.
        before = await repository.update(before.id, change)


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 6])
async def test_pages_hold_each_note_once_newest_first(repository: Notes, limit: int) -> None:
    assert await walk(repository, limit) == []
    await add(repository, "a", "b", "c", "d", "e")
    assert await walk(repository, limit) == ["e", "d", "c", "b", "a"]


async def test_a_search_applies_to_every_page_and_ignores_case(repository: Notes) -> None:
    await add(repository, "a1", "b", "A2", "c", "a3")
    assert await walk(repository, 1, "A") == ["a3", "A2", "a1"]


async def test_a_page_can_be_filtered_by_values_of_fields(repository: Notes) -> None:
    one, other = await add(repository, "lamp", "desk")
    assert list(await repository.page(limit=5, where={"id": one.id})) == [one]
    both = {"id": other.id, "name": "lamp"}
    assert list(await repository.page(limit=5, where=both)) == []


async def test_additions_and_removals_do_not_move_a_page(repository: Notes) -> None:
    *_, last = await add(repository, "a", "b", "c", "d")
    await repository.remove(last.id)
    await add(repository, "e")
    page = await repository.page(limit=2, after=Position(last.created_at, last.id))
    assert [note.name for note in page] == ["c", "b"]
