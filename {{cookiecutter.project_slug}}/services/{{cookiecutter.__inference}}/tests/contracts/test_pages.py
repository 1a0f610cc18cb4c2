"""The contract of `Collection.page`: the order, where a page begins, and who is on it."""

from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from servicebase.pagination import Position

from gateway.ports import Collection, Database

from . import samples
from .samples import Sample

TEXTS = ("Lamp", "lamps", "50% off", "c:\\temp", "lam_p", "100")
FOUND = {
    "lam": ["lam_p", "lamps", "Lamp"],
    "LAM": ["lam_p", "lamps", "Lamp"],
    "lam_": ["lam_p"],
    "amp": [],
    "%": [],
    "50%": ["50% off"],
    "c:\\": ["c:\\temp"],
    "\\": [],
    "": [*reversed(TEXTS)],
}
"""Which of the texts a search finds, in this order."""


async def walk(collection: Collection[Any, Any], limit: int, search: str = "") -> list[Any]:
    """Return what is on all pages."""
    found: list[Any] = []
    after = None
    while page := await collection.page(limit=limit, after=after, search=search):
        assert len(page) <= limit
        found += page
        after = Position(page[-1].created_at, page[-1].id)
    return found


async def test_where_nothing_is_a_page_is_empty(database: Database, sample: Sample) -> None:
    assert list(await sample.among(database).page(limit=5)) == []


@pytest.mark.parametrize("limit", [1, 2, 5, 6])
async def test_pages_hold_each_once_the_newest_first(
    database: Database, sample: Sample, limit: int
) -> None:
    created = await sample.create(database, "a", "b", "c", "d", "e")
    assert await walk(sample.among(database), limit) == created[::-1]


async def test_a_page_is_not_moved_by_what_is_created_later(
    database: Database, sample: Sample
) -> None:
    first, second, last = await sample.create(database, "a", "b", "c")
    await sample.create(database, "d")
    position = Position(last.created_at, last.id)
    assert list(await sample.among(database).page(limit=5, after=position)) == [second, first]


async def test_a_page_can_begin_after_one_that_was_removed(
    database: Database, sample: Sample
) -> None:
    first, second, last = await sample.create(database, "a", "b", "c")
    await sample.among(database).remove(last.id)
    position = Position(last.created_at, last.id)
    assert list(await sample.among(database).page(limit=5, after=position)) == [second, first]


async def test_a_page_of_a_team_holds_what_belongs_to_it(
    database: Database, sample: Sample
) -> None:
    created, _ = await sample.create(database, "a", "b")
    team = getattr(created, "team_id", created.id)
    assert list(await sample.among(database).page(limit=5, team=team)) == [created]
    assert list(await sample.among(database).page(limit=5, team=uuid4())) == []


@pytest.mark.parametrize("kind", ["users", "keys"])
async def test_a_page_of_a_user_holds_what_belongs_to_it(database: Database, kind: str) -> None:
    sample = samples.of(kind)
    created, _ = await sample.create(database, "a", "b")
    user = getattr(created, "user_id", created.id)
    assert list(await sample.among(database).page(limit=5, user=user)) == [created]
    assert list(await sample.among(database).page(limit=5, user=uuid4())) == []


@pytest.mark.parametrize("kind", ["teams", "aliases", "quotas"])
async def test_what_has_no_user_is_on_the_page_of_none(database: Database, kind: str) -> None:
    await samples.of(kind).create(database, "a")
    user = await samples.user(database)
    assert list(await samples.of(kind).among(database).page(limit=5, user=user.id)) == []


@pytest.mark.parametrize(
    ("kind", "field"),
    [("teams", "name"), ("users", "email"), ("keys", "name"), ("aliases", "alias")],
)
async def test_search_picks_by_the_beginning_of_what_people_know(
    database: Database, kind: str, field: str
) -> None:
    sample = samples.of(kind)
    await sample.create(database, *TEXTS)
    found = {
        search: [getattr(each, field) for each in await walk(sample.among(database), 2, search)]
        for search in FOUND
    }
    assert found == FOUND


async def test_search_picks_keys_by_the_beginning_of_their_prefix(database: Database) -> None:
    sample = samples.of("keys")
    new = await sample.new(database, "lamp")
    key = await database.keys.create(replace(new, name=None, prefix="sk-Ab"))
    await sample.create(database, "desk")
    assert await walk(database.keys, 5, "SK-a") == [key]


async def test_search_picks_aliases_by_a_whole_tag(database: Database) -> None:
    sample = samples.of("aliases")
    new = await sample.new(database, "lamp")
    alias = await database.aliases.create(replace(new, tags=("light", "office")))
    await database.aliases.create(replace(new, alias="desk", tags=("office-2",)))
    assert await walk(database.aliases, 5, "Office") == [alias]
    assert await walk(database.aliases, 5, "off") == []


async def test_search_finds_no_quota(database: Database) -> None:
    await samples.of("quotas").create(database, "lamp")
    assert await walk(database.quotas, 5, "10") == []
