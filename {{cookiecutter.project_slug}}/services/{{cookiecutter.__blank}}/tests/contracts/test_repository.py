"""The contract of `Repository`, for the fake and the real one alike."""

import asyncio
from collections.abc import Awaitable
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from {{ cookiecutter.__package }} import domain, errors
from {{ cookiecutter.__package }}.ports import Position, Repository

# Any code point, good or not. (st.text would spend a second on tables of Unicode.)
TEXT = st.lists(st.integers(0, 0x10FFFF).map(chr), max_size=20).map("".join)

New = domain.New{{ cookiecutter.__class }}
Stored = domain.{{ cookiecutter.__class }}


async def add(repository: Repository, *names: str) -> list[Stored]:
    return [await repository.add(uuid4(), New(name=name)) for name in names]


async def walk(repository: Repository, limit: int, search: str = "") -> list[str]:
    """Return the names on all pages."""
    names: list[str] = []
    after = None
    while page := await repository.page(limit=limit, after=after, search=search):
        names += [stored.name for stored in page]
        after = Position(page[-1].created_at, page[-1].id)
    return names


async def outcomes(*attempts: Awaitable[Stored]) -> tuple[list[Stored], list[BaseException]]:
    """Return what came of attempts made at once: the results, and the errors."""
    ended = await asyncio.gather(*attempts, return_exceptions=True)
    return (
        [end for end in ended if not isinstance(end, BaseException)],
        [end for end in ended if isinstance(end, BaseException)],
    )


async def test_what_is_added_can_be_read(repository: Repository) -> None:
    new = New(name="lamp", quantity=3, tags=("a", "b"), attributes={"deep": [{"er": None}]})
    added = await repository.add(UUID(int=7), new)
    assert await repository.get(UUID(int=7)) == added
    assert (added.id, added.name, added.quantity) == (UUID(int=7), "lamp", 3)
    assert (added.tags, added.attributes) == (("a", "b"), {"deep": [{"er": None}]})


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # Each example has its id.
@given(
    name=TEXT,
    quantity=st.integers(0, domain.QUANTITY_LIMIT),
    attributes=st.dictionaries(
        TEXT,
        # PostgreSQL keeps numbers as decimals: a large float comes back as the integer that it is.
        st.none() | st.booleans() | st.integers() | TEXT | st.floats(-1e15, 1e15),
        max_size=3,
    ),
)
async def test_what_the_domain_allows_comes_back_unchanged(
    repository: Repository,
    name: str,
    quantity: int,
    attributes: dict[str, object],
) -> None:
    id_ = uuid4()
    try:
        name = domain.check_name(f"{id_}{name}")
        attributes = domain.check_attributes(attributes)
    except errors.InvalidError:
        return
    await repository.add(id_, New(name=name, quantity=quantity, attributes=attributes))
    stored = await repository.get(id_)
    assert (stored.name, stored.quantity, stored.attributes) == (name, quantity, attributes)


async def test_a_new_one_was_never_updated(repository: Repository) -> None:
    [stored] = await add(repository, "lamp")
    assert stored.created_at == stored.updated_at
    assert stored.created_at.tzinfo is not None


async def test_adding_an_id_again_returns_the_first(repository: Repository) -> None:
    first = await repository.add(UUID(int=7), New(name="lamp"))
    assert await repository.add(UUID(int=7), New(name="desk", quantity=9)) == first
    assert await repository.get(UUID(int=7)) == first


async def test_adding_one_id_many_times_at_once_adds_it_once(repository: Repository) -> None:
    new = New(name="lamp")
    added, failed = await outcomes(*(repository.add(UUID(int=7), new) for _ in range(8)))
    assert not failed
    assert len({stored.created_at for stored in added}) == 1


async def test_adding_a_taken_name_is_a_conflict(repository: Repository) -> None:
    await add(repository, "lamp")
    with pytest.raises(errors.ConflictError) as caught:
        await add(repository, "lamp")
    assert caught.value.field == "name"


async def test_of_many_who_add_one_name_at_once_exactly_one_wins(repository: Repository) -> None:
    new = New(name="lamp")
    added, failed = await outcomes(*(repository.add(uuid4(), new) for _ in range(8)))
    assert len(added) == 1
    assert {type(error) for error in failed} == {errors.ConflictError}
    assert await walk(repository, 10) == ["lamp"]


async def test_a_name_is_free_again_once_its_bearer_is_removed(repository: Repository) -> None:
    [stored] = await add(repository, "lamp")
    await repository.remove(stored.id)
    await add(repository, "lamp")


async def test_names_that_differ_in_case_are_different(repository: Repository) -> None:
    assert len(await add(repository, "lamp", "Lamp")) == 2


async def test_what_is_not_there_cannot_be_read_changed_or_removed(repository: Repository) -> None:
    with pytest.raises(errors.NotFoundError):
        await repository.get(UUID(int=7))
    with pytest.raises(errors.NotFoundError):
        await repository.update(UUID(int=7), quantity=1)
    with pytest.raises(errors.NotFoundError):
        await repository.update(UUID(int=7))
    with pytest.raises(errors.NotFoundError):
        await repository.remove(UUID(int=7))


async def test_what_is_removed_is_gone(repository: Repository) -> None:
    stored, other = await add(repository, "lamp", "desk")
    await repository.remove(stored.id)
    with pytest.raises(errors.NotFoundError):
        await repository.get(stored.id)
    assert await repository.get(other.id) == other


async def test_an_update_changes_only_what_it_names(repository: Repository) -> None:
    new = New(name="lamp", quantity=3, tags=("a",), attributes={"b": 1})
    before = await repository.add(uuid4(), new)
    after = await repository.update(before.id, quantity=4)
    assert (after.name, after.quantity, after.tags) == ("lamp", 4, ("a",))
    assert (after.attributes, after.created_at) == ({"b": 1}, before.created_at)
    assert await repository.get(before.id) == after


async def test_an_update_replaces_every_field_as_a_whole(repository: Repository) -> None:
    new = New(name="lamp", quantity=3, tags=("a",), attributes={"b": 1})
    before = await repository.add(uuid4(), new)
    changes = domain.{{ cookiecutter.__class }}Changes(
        name="desk",
        quantity=0,
        tags=(),
        attributes={"c": 2},
    )
    after = await repository.update(before.id, **changes)
    assert (after.name, after.quantity, after.tags) == ("desk", 0, ())
    assert after.attributes == {"c": 2}


async def test_an_update_moves_updated_at(repository: Repository) -> None:
    [before] = await add(repository, "lamp")
    after = await repository.update(before.id, quantity=1)
    assert after.updated_at > before.updated_at


async def test_an_update_of_nothing_changes_nothing(repository: Repository) -> None:
    [before] = await add(repository, "lamp")
    assert await repository.update(before.id) == before


async def test_an_update_to_a_taken_name_is_a_conflict(repository: Repository) -> None:
    _, other = await add(repository, "lamp", "desk")
    with pytest.raises(errors.ConflictError) as caught:
        await repository.update(other.id, name="lamp")
    assert caught.value.field == "name"
    assert await repository.get(other.id) == other


async def test_an_update_to_its_own_name_is_no_conflict(repository: Repository) -> None:
    [stored] = await add(repository, "lamp")
    assert (await repository.update(stored.id, name="lamp")).name == "lamp"


async def test_updates_of_different_fields_at_once_are_both_kept(repository: Repository) -> None:
    [stored] = await add(repository, "lamp")
    await asyncio.gather(
        repository.update(stored.id, quantity=5),
        repository.update(stored.id, tags=("a",)),
    )
    after = await repository.get(stored.id)
    assert (after.quantity, after.tags) == (5, ("a",))


async def test_an_empty_repository_has_an_empty_page(repository: Repository) -> None:
    assert list(await repository.page(limit=5)) == []


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 6])
async def test_pages_hold_each_once_the_newest_first(repository: Repository, limit: int) -> None:
    await add(repository, "a", "b", "c", "d", "e")
    assert await walk(repository, limit) == ["e", "d", "c", "b", "a"]


async def test_a_page_is_not_moved_by_what_is_added_later(repository: Repository) -> None:
    *_, last = await add(repository, "a", "b", "c", "d")
    await add(repository, "e")
    page = await repository.page(limit=2, after=Position(last.created_at, last.id))
    assert [stored.name for stored in page] == ["c", "b"]


async def test_a_page_can_begin_after_one_that_was_removed(repository: Repository) -> None:
    *_, last = await add(repository, "a", "b", "c")
    await repository.remove(last.id)
    page = await repository.page(limit=2, after=Position(last.created_at, last.id))
    assert [stored.name for stored in page] == ["b", "a"]


@pytest.mark.parametrize(
    ("search", "names"),
    [
        ("lam", ["lamps", "Lamp"]),
        ("LAM", ["lamps", "Lamp"]),
        ("amp", []),
        ("lamp_", []),
        ("l%", []),
        ("50%", ["50% off"]),
        ("c:\\", ["c:\\temp"]),
        ("desk", []),
        ("", ["c:\\temp", "50% off", "lamps", "Lamp"]),
    ],
)
async def test_search_picks_by_the_beginning_of_the_name(
    repository: Repository,
    search: str,
    names: list[str],
) -> None:
    await add(repository, "Lamp", "lamps", "50% off", "c:\\temp")
    assert await walk(repository, 1, search) == names


async def test_search_picks_by_a_whole_tag(repository: Repository) -> None:
    await repository.add(uuid4(), New(name="lamp", tags=("light", "office")))
    await repository.add(uuid4(), New(name="desk", tags=("office-2",)))
    assert await walk(repository, 5, "Office") == ["lamp"]
    assert await walk(repository, 5, "off") == []


async def test_a_server_that_is_there_answers(repository: Repository) -> None:
    await repository.ping()
