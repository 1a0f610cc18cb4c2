"""The contract of the database: each kind of entity, the versions of aliases, and the config.

The tests of servicebase cover the behaviour that all repositories share.
"""

import asyncio
from dataclasses import asdict, replace
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from servicebase import values
from stratakit.testing import contracts

from gateway import domain, errors
from gateway.domain import Config, Target
from gateway.ports import Database

from ..samples import SAMPLES, Sample

# Any code point, valid or not. (st.text would spend a second on tables of Unicode.)
TEXT = st.lists(st.integers(0, 0x10FFFF).map(chr), max_size=20).map("".join)
NAME: TypeAdapter[str] = TypeAdapter(domain.Name)
PARAMETERS: TypeAdapter[dict[str, Any]] = TypeAdapter(values.JsonObject)
# Every code point that UTF-8 can encode and JSONB can store.
STORABLE = st.integers(1, 0xD7FF) | st.integers(0xE000, 0x10FFFF)
NAMES = st.lists(STORABLE.map(chr), max_size=5).map("".join)
AMOUNTS = st.integers(0, 2**53)
CONFIGS = st.builds(
    Config,
    models=st.dictionaries(NAMES, st.builds(Target, NAMES, NAMES), max_size=3),
    prices=st.dictionaries(NAMES, AMOUNTS, max_size=3),
    requests_per_minute=AMOUNTS,
    tokens_per_minute=AMOUNTS,
    max_tokens=AMOUNTS,
)
TEXTS = ("Lamp", "lamps", "50% off", "c:\\temp", "lam_p", "100")
FOUND = {
    "LAM": ["lam_p", "lamps", "Lamp"],
    "lam_": ["lam_p"],
    "50%": ["50% off"],
    "c:\\": ["c:\\temp"],
    "amp": [],
    "%": [],
    "\\": [],
    "": [*reversed(TEXTS)],
}
"""Texts that a search finds, in order."""
OWNERS = [(kind, "team") for kind in ("users", "keys", "aliases", "quotas")] + [("keys", "user")]
"""Kinds of entities, and their owners."""


async def page(sample: Sample, database: Database, **which: Any) -> list[Any]:
    return list(await sample.among(database).page(limit=9, **which))


@pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES)
async def test_one_of_concurrent_duplicates_is_added_and_can_be_changed_and_removed(
    database: Database, sample: Sample
) -> None:
    collection, new = sample.among(database), await sample.one(database, "lamp")
    [other] = await sample.add(database, "Lamp")
    attempts = [collection.add(uuid4(), new) for _ in range(8)]
    ended = await asyncio.gather(*attempts, return_exceptions=True)
    conflicts = [end.field for end in ended if isinstance(end, errors.ConflictError)]
    assert conflicts == [sample.unique] * 7
    [added] = [each for each in await page(sample, database) if each != other]
    assert asdict(added) == {**asdict(added), **asdict(new)}
    same = {name: asdict(new)[name] for name in asdict(new).keys() & {sample.unique, "team_id"}}
    with pytest.raises(errors.ConflictError) as caught:
        await collection.update(other.id, same)
    assert caught.value.field == sample.unique
    changes = sample.other(added)
    changed = await collection.update(added.id, changes)
    kept = {"id": added.id, "created_at": added.created_at}
    assert asdict(changed) == {**asdict(changed), **changes, **kept}
    assert changed.updated_at > added.updated_at
    assert await page(sample, database) == [changed, other]
    await collection.remove(added.id)
    with pytest.raises(errors.NotFoundError):
        await collection.update(added.id, changes)
    await collection.add(uuid4(), new)


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        ("teams", "budget_cents", -1),
        ("users", "role", "owner"),
        ("quotas", "requests_per_minute", -1),
        ("quotas", "tokens_per_minute", -1),
        *((kind, f"{owner}_id", UUID(int=7)) for kind, owner in OWNERS),
    ],
)
async def test_a_value_that_violates_a_constraint_or_an_unknown_owner_is_refused(
    database: Database, kind: str, field: str, value: Any
) -> None:
    collection = SAMPLES[kind].among(database)
    refused = errors.InvalidReferenceError if "_id" in field else errors.InvalidError
    new = await SAMPLES[kind].one(database, "lamp")
    with pytest.raises(refused, match=field):
        await collection.add(uuid4(), replace(new, **{field: value}))
    stored = await collection.add(uuid4(), new)
    with pytest.raises(refused, match=field):
        await collection.update(stored.id, {field: value})
    assert await page(SAMPLES[kind], database) == [stored]


@pytest.mark.parametrize(("kind", "owner"), OWNERS)
async def test_entities_belong_to_their_owner(database: Database, kind: str, owner: str) -> None:
    sample, field = SAMPLES[kind], f"{owner}_id"
    mine, other = await sample.add(database, "lamp", "desk")
    assert await page(sample, database, where={field: getattr(mine, field)}) == [mine]
    await SAMPLES[f"{owner}s"].among(database).remove(getattr(mine, field))
    assert await page(sample, database) == [other]
    teams = [each.id for each in await page(SAMPLES["teams"], database)]
    assert (mine.team_id in teams) is (owner != "team")


@pytest.mark.parametrize("kind", ["teams", "users", "keys", "aliases"])
async def test_a_search_finds_prefixes_of_names(database: Database, kind: str) -> None:
    sample = SAMPLES[kind]
    await sample.add(database, *TEXTS)
    for search, texts in FOUND.items():
        found = await page(sample, database, search=search)
        assert [getattr(each, sample.known_by) for each in found] == texts


async def test_a_search_finds_prefixes_of_keys_and_whole_tags(database: Database) -> None:
    [key] = await SAMPLES["keys"].add(database, "lamp", prefix="sk-Ab")
    [alias] = await SAMPLES["aliases"].add(database, "lamp", tags=("light", "office"))
    await SAMPLES["keys"].add(database, "desk", prefix="sk-b")
    await SAMPLES["aliases"].add(database, "desk", tags=("office-2",))
    await SAMPLES["quotas"].add(database, "lamp")
    for kind, search, found in (
        ("keys", "SK-a", [key]),
        ("aliases", "Office", [alias]),
        ("aliases", "off", []),
        ("quotas", "1", []),
    ):
        assert await page(SAMPLES[kind], database, search=search) == found


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # Each has its own team.
@given(
    name=TEXT,
    budget=st.integers(0, domain.INTEGER_LIMIT),
    parameters=st.dictionaries(
        TEXT,
        # PostgreSQL stores numbers as decimals: a large float is read back as an integer.
        st.none() | st.booleans() | st.integers() | TEXT | st.floats(-1e15, 1e15),
        max_size=3,
    ),
    config=CONFIGS,
)
async def test_any_valid_value_and_any_config_is_stored_unchanged(
    database: Database, name: str, budget: int, parameters: dict[str, object], config: Config
) -> None:
    published = await database.add_config(config)
    assert await database.config() == published == replace(config, version=published.version)
    try:
        name = NAME.validate_python(f"{uuid4()}{name}")
        PARAMETERS.validate_python(parameters)
    except ValidationError:
        return
    team = await database.teams.add(uuid4(), domain.NewTeam(name=name, budget_cents=budget))
    [alias] = await SAMPLES["aliases"].add(database, "a", team_id=team.id, parameters=parameters)
    stored = await database.teams.get(team.id)
    assert (stored.name, stored.budget_cents) == (name, budget)
    assert (await database.aliases.get(alias.id)).parameters == parameters


async def test_of_concurrent_configs_the_greatest_version_is_current(database: Database) -> None:
    assert await database.config() == Config()
    # The given versions are ignored.
    filled = contracts.filled(Config)
    news = [replace(filled, version=9 - number, max_tokens=number) for number in range(1, 21)]
    added = await asyncio.gather(*map(database.add_config, news))
    assert len({each.version for each in added}) == 20
    newest = max(added, key=lambda each: each.version)
    assert await database.config() == newest
    assert (await database.add_config(Config())).version > newest.version


async def add_alias(database: Database, name: str = "lamp", **given: object) -> domain.ModelAlias:
    added: list[domain.ModelAlias] = await SAMPLES["aliases"].add(database, name, **given)
    return added[0]


async def test_each_change_of_an_alias_creates_a_version(database: Database) -> None:
    first = await add_alias(database)
    await add_alias(database, "taken", team_id=first.team_id)
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
async def test_of_concurrent_updates_one_succeeds_with_a_version_and_all_without_one(
    database: Database, seen: int | None, newest: int
) -> None:
    alias = await add_alias(database)
    update = partial(database.aliases.update, alias.id, version=seen)
    attempts = [update({"target": str(number)}) for number in range(8)]
    ended = await asyncio.gather(*attempts, return_exceptions=True)
    made = [end for end in ended if isinstance(end, domain.ModelAlias)]
    newest_first = sorted(made, key=lambda each: each.version, reverse=True)
    assert list(await database.aliases.versions(alias.id)) == [*newest_first, alias]
    assert [each.version for each in newest_first] == [*range(newest, 1, -1)]
    assert sum(isinstance(end, errors.VersionConflictError) for end in ended) == 9 - newest


async def test_the_routes_of_a_team_are_its_aliases_by_name(database: Database) -> None:
    first = await add_alias(database)
    # Another team may use the same names.
    await add_alias(database)
    second = await add_alias(database, "desk", team_id=first.team_id)
    assert await database.aliases.routes(first.team_id) == {"lamp": first, "desk": second}
    newest = await database.aliases.update(first.id, {"alias": "light"})
    assert await database.aliases.routes(first.team_id) == {"light": newest, "desk": second}
    assert await database.aliases.routes(UUID(int=7)) == {}
