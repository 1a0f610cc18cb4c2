"""The contract of `Collection`: what is unique, what refers to what, and which values are good."""

import asyncio
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from gateway import domain, errors
from gateway.api.schemas import fields
from gateway.ports import Database

from . import samples
from .samples import Sample

# Any code point, good or not. (st.text would spend a second on tables of Unicode.)
TEXT = st.lists(st.integers(0, 0x10FFFF).map(chr), max_size=20).map("".join)
NAME: TypeAdapter[str] = TypeAdapter(fields.Name)
PARAMETERS: TypeAdapter[dict[str, Any]] = TypeAdapter(fields.Parameters)


async def test_the_same_again_is_a_conflict(database: Database, sample: Sample) -> None:
    new = await sample.new(database, "lamp")
    first = await sample.among(database).create(new)
    with pytest.raises(errors.ConflictError) as caught:
        await sample.among(database).create(new)
    assert caught.value.field == sample.unique
    assert await sample.among(database).get(first.id) == first


async def test_of_many_who_create_the_same_at_once_exactly_one_wins(
    database: Database, sample: Sample
) -> None:
    new = await sample.new(database, "lamp")
    attempts = [sample.among(database).create(new) for _ in range(8)]
    ended = await asyncio.gather(*attempts, return_exceptions=True)
    assert sum(isinstance(end, errors.ConflictError) for end in ended) == 7
    assert len(await sample.among(database).page(limit=9)) == 1


async def test_what_was_unique_is_free_again_once_its_bearer_is_removed(
    database: Database, sample: Sample
) -> None:
    new = await sample.new(database, "lamp")
    first = await sample.among(database).create(new)
    await sample.among(database).remove(first.id)
    await sample.among(database).create(new)


@pytest.mark.parametrize(
    ("kind", "field"), [("teams", "name"), ("users", "email"), ("aliases", "alias")]
)
async def test_an_update_to_what_another_has_is_a_conflict(
    database: Database, kind: str, field: str
) -> None:
    sample = samples.of(kind)
    new = await sample.new(database, "lamp")
    await sample.among(database).create(new)
    other = await sample.among(database).create(replace(new, **{field: "desk"}))
    with pytest.raises(errors.ConflictError) as caught:
        await sample.among(database).update(other.id, {field: "lamp"})
    assert caught.value.field == field
    assert await sample.among(database).get(other.id) == other
    # Its own is no other's.
    same = await sample.among(database).update(other.id, {field: "desk"})
    assert getattr(same, field) == "desk"


async def test_two_teams_may_have_an_alias_of_the_same_name(database: Database) -> None:
    assert len(await samples.of("aliases").create(database, "lamp", "lamp")) == 2


async def test_names_that_differ_in_case_are_different(database: Database) -> None:
    assert len(await samples.of("teams").create(database, "lamp", "Lamp")) == 2


@pytest.mark.parametrize(
    ("kind", "field"),
    [
        ("users", "team_id"),
        ("keys", "team_id"),
        ("keys", "user_id"),
        ("aliases", "team_id"),
        ("quotas", "team_id"),
    ],
)
async def test_nothing_can_belong_to_what_does_not_exist(
    database: Database, kind: str, field: str
) -> None:
    sample = samples.of(kind)
    new = await sample.new(database, "lamp")
    with pytest.raises(errors.InvalidReferenceError) as caught:
        await sample.among(database).create(replace(new, **{field: uuid4()}))
    assert caught.value.field == field
    assert list(await sample.among(database).page(limit=1)) == []


@pytest.mark.parametrize("kind", ["users", "keys", "aliases", "quotas"])
async def test_what_belongs_to_a_team_goes_with_it(database: Database, kind: str) -> None:
    created, other = await samples.of(kind).create(database, "lamp", "desk")
    await database.teams.remove(created.team_id)
    assert list(await samples.of(kind).among(database).page(limit=5)) == [other]


async def test_the_keys_of_a_user_go_with_it_and_the_team_stays(database: Database) -> None:
    key, other = await samples.of("keys").create(database, "lamp", "desk")
    await database.users.remove(key.user_id)
    assert list(await database.keys.page(limit=5)) == [other]
    assert (await database.teams.get(key.team_id)).id == key.team_id


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        ("teams", "budget_cents", -1),
        ("users", "role", "owner"),
        ("quotas", "requests_per_minute", -1),
        ("quotas", "tokens_per_minute", -1),
    ],
)
async def test_a_value_that_breaks_a_rule_is_invalid(
    database: Database, kind: str, field: str, value: Any
) -> None:
    sample = samples.of(kind)
    new = await sample.new(database, "lamp")
    with pytest.raises(errors.InvalidError) as caught:
        await sample.among(database).create(replace(new, **{field: value}))
    assert caught.value.field == field
    stored = await sample.among(database).create(new)
    with pytest.raises(errors.InvalidError) as caught:
        await sample.among(database).update(stored.id, {field: value})
    assert caught.value.field == field
    assert await sample.among(database).get(stored.id) == stored


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
    team = await database.teams.create(domain.NewTeam(name=name, budget_cents=budget))
    new = domain.NewModelAlias(
        team_id=team.id, alias="a", target="b", provider="c", parameters=parameters
    )
    alias = await database.aliases.create(new)
    stored = await database.teams.get(team.id)
    assert (stored.name, stored.budget_cents) == (name, budget)
    assert (await database.aliases.get(alias.id)).parameters == parameters
