"""What is kept of each kind. What repositories do whatever they keep, servicebase's tests show."""

import asyncio
from collections.abc import Mapping
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

from .samples import SAMPLES, Sample

# Any code point, good or not. (st.text would spend a second on tables of Unicode.)
TEXT = st.lists(st.integers(0, 0x10FFFF).map(chr), max_size=20).map("".join)
NAME: TypeAdapter[str] = TypeAdapter(domain.Name)
PARAMETERS: TypeAdapter[dict[str, Any]] = TypeAdapter(values.JsonObject)
TEXTS = ("Lamp", "lamps", "50% off", "c:\\temp", "lam_p", "100")
FOUND = {
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


def of_kinds(*names: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("sample", [SAMPLES[name] for name in names], ids=names)


def decided(stored: Any, new: Any) -> dict[str, object]:
    """Return of what is stored what its creator decided."""
    return {name: getattr(stored, name) for name in asdict(new)}


async def page(sample: Sample, database: Database, **which: Any) -> list[Any]:
    return list(await sample.among(database).page(limit=9, **which))


@of_kinds(*SAMPLES)
async def test_one_is_added_changed_and_removed_and_the_others_stay(
    database: Database, sample: Sample
) -> None:
    collection = sample.among(database)
    [other] = await sample.add(database, "desk")
    new = await sample.one(database, "lamp")
    added = await collection.add(uuid4(), new)
    assert decided(added, new) == asdict(new)
    changes = sample.other(added)
    changed = await collection.update(added.id, changes)
    assert decided(changed, new) == changes
    assert (changed.id, changed.created_at) == (added.id, added.created_at)
    assert changed.updated_at > added.updated_at
    assert await page(sample, database) == [changed, other]
    await collection.remove(added.id)
    with pytest.raises(errors.NotFoundError):
        await collection.update(added.id, changes)
    await collection.add(uuid4(), new)


@of_kinds(*SAMPLES)
async def test_of_many_who_add_the_same_at_once_exactly_one_wins(
    database: Database, sample: Sample
) -> None:
    new = await sample.one(database, "lamp")
    attempts = [sample.among(database).add(uuid4(), new) for _ in range(8)]
    ended = await asyncio.gather(*attempts, return_exceptions=True)
    conflicts = [end for end in ended if isinstance(end, errors.ConflictError)]
    assert [conflict.field for conflict in conflicts] == [sample.unique] * 7
    assert len(await page(sample, database)) == 1


@of_kinds("teams", "users", "aliases")
async def test_a_change_to_what_another_has_is_a_conflict(
    database: Database, sample: Sample
) -> None:
    field = sample.known_by
    [first] = await sample.add(database, "lamp")
    owner = {} if sample.kind == "teams" else {"team_id": first.team_id}
    [other] = await sample.add(database, "Lamp", **owner)
    with pytest.raises(errors.ConflictError) as caught:
        await sample.among(database).update(other.id, {field: "lamp"})
    assert caught.value.field == field
    assert await sample.among(database).get(other.id) == other
    assert getattr(await sample.among(database).update(other.id, {field: "Lamp"}), field) == "Lamp"


async def test_two_teams_may_have_an_alias_of_the_same_name(database: Database) -> None:
    assert len(await SAMPLES["aliases"].add(database, "lamp", "lamp")) == 2


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        ("teams", {"budget_cents": -1}),
        ("users", {"role": "owner"}),
        ("users", {"team_id": UUID(int=7)}),
        ("keys", {"team_id": UUID(int=7)}),
        ("keys", {"user_id": UUID(int=7)}),
        ("aliases", {"team_id": UUID(int=7)}),
        ("quotas", {"team_id": UUID(int=7)}),
        ("quotas", {"requests_per_minute": -1}),
        ("quotas", {"tokens_per_minute": -1}),
    ],
)
async def test_neither_a_value_that_breaks_a_rule_nor_an_owner_that_is_not_there_is_stored(
    database: Database, kind: str, wrong: Mapping[str, Any]
) -> None:
    collection, [(field, value)] = SAMPLES[kind].among(database), wrong.items()
    refused = errors.InvalidReferenceError if "_id" in field else errors.InvalidError
    new = await SAMPLES[kind].one(database, "lamp")
    with pytest.raises(refused, match=field):
        await collection.add(uuid4(), replace(new, **wrong))
    stored = await collection.add(uuid4(), new)
    with pytest.raises(refused, match=field):
        await collection.update(stored.id, {field: value})
    assert await page(SAMPLES[kind], database) == [stored]


@of_kinds("users", "keys", "aliases", "quotas")
async def test_a_page_can_be_one_teams_and_all_of_it_goes_with_the_team(
    database: Database, sample: Sample
) -> None:
    mine, other = await sample.add(database, "lamp", "desk")
    assert await page(sample, database, where={"team_id": mine.team_id}) == [mine]
    await database.teams.remove(mine.team_id)
    assert await page(sample, database) == [other]


async def test_a_page_can_be_one_users_and_their_keys_go_with_them(database: Database) -> None:
    mine, other = await SAMPLES["keys"].add(database, "lamp", "desk")
    assert await page(SAMPLES["keys"], database, where={"user_id": mine.user_id}) == [mine]
    await database.users.remove(mine.user_id)
    assert await page(SAMPLES["keys"], database) == [other]
    assert (await database.teams.get(mine.team_id)).id == mine.team_id


@of_kinds("teams", "users", "keys", "aliases")
async def test_a_search_finds_by_the_beginning_of_what_people_know(
    database: Database, sample: Sample
) -> None:
    await sample.add(database, *TEXTS)
    found = {
        search: [
            getattr(each, sample.known_by) for each in await page(sample, database, search=search)
        ]
        for search in FOUND
    }
    assert found == FOUND


async def test_a_search_finds_keys_by_their_prefix_aliases_by_a_whole_tag_and_no_quota(
    database: Database,
) -> None:
    keys, aliases, quotas = SAMPLES["keys"], SAMPLES["aliases"], SAMPLES["quotas"]
    [key] = await keys.add(database, "lamp", prefix="sk-Ab")
    await keys.add(database, "desk", prefix="sk-b")
    assert await page(keys, database, search="SK-a") == [key]
    [alias] = await aliases.add(database, "lamp", tags=("light", "office"))
    await aliases.add(database, "desk", tags=("office-2",))
    assert await page(aliases, database, search="Office") == [alias]
    assert await page(aliases, database, search="off") == []
    await quotas.add(database, "lamp")
    assert await page(quotas, database, search="1") == []


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
