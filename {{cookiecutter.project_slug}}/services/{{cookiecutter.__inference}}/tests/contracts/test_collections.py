"""What is kept of each kind. What repositories do whatever they keep, servicebase's tests show."""

import asyncio
from dataclasses import asdict, replace
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from servicebase import values

from gateway import domain, errors
from gateway.ports import Database

from ..samples import SAMPLES, Sample

# Any code point, good or not. (st.text would spend a second on tables of Unicode.)
TEXT = st.lists(st.integers(0, 0x10FFFF).map(chr), max_size=20).map("".join)
NAME: TypeAdapter[str] = TypeAdapter(domain.Name)
PARAMETERS: TypeAdapter[dict[str, Any]] = TypeAdapter(values.JsonObject)
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
"""Which of the texts a search finds, in this order."""
OWNERS = [(kind, "team") for kind in ("users", "keys", "aliases", "quotas")] + [("keys", "user")]
"""What belongs to whom."""


async def page(sample: Sample, database: Database, **which: Any) -> list[Any]:
    return list(await sample.among(database).page(limit=9, **which))


@pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES)
async def test_one_is_added_by_one_of_many_and_is_changed_and_removed(
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
async def test_neither_a_value_that_breaks_a_rule_nor_an_owner_that_is_not_there_is_stored(
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
async def test_one_owners_page_goes_with_them(database: Database, kind: str, owner: str) -> None:
    sample, field = SAMPLES[kind], f"{owner}_id"
    mine, other = await sample.add(database, "lamp", "desk")
    assert await page(sample, database, where={field: getattr(mine, field)}) == [mine]
    await SAMPLES[f"{owner}s"].among(database).remove(getattr(mine, field))
    assert await page(sample, database) == [other]
    teams = [each.id for each in await page(SAMPLES["teams"], database)]
    assert (mine.team_id in teams) is (owner != "team")


@pytest.mark.parametrize("kind", ["teams", "users", "keys", "aliases"])
async def test_a_search_finds_by_how_names_begin(database: Database, kind: str) -> None:
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
        # PostgreSQL keeps numbers as decimals: a large float comes back as the integer that it is.
        st.none() | st.booleans() | st.integers() | TEXT | st.floats(-1e15, 1e15),
        max_size=3,
    ),
)
async def test_what_the_domain_allows_comes_back_unchanged(
    database: Database, name: str, budget: int, parameters: dict[str, object]
) -> None:
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
