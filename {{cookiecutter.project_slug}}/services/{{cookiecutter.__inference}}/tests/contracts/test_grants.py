"""The contract of `Database`: who a team begins with, and what a key gives access to."""

import asyncio
from datetime import UTC, datetime

import pytest

from gateway import domain, errors
from gateway.domain import Limits, NewQuota, NewTeam
from gateway.ports import Database, Grant

from . import samples

LONG_AGO = datetime(2001, 1, 1, tzinfo=UTC)


async def create_key(database: Database) -> domain.ApiKey:
    [created] = await samples.of("keys").create(database, "lamp")
    found: domain.ApiKey = created
    return found


async def test_a_team_is_registered_with_an_admin(database: Database) -> None:
    user = await database.register(NewTeam(name="lamp", budget_cents=5), "ann@example.org", "hash")
    assert (user.email, user.role, user.password_hash) == ("ann@example.org", "admin", "hash")
    team = await database.teams.get(user.team_id)
    assert (team.name, team.budget_cents, team.spent_microcents) == ("lamp", 5, 0)
    assert await database.users.get(user.id) == user


@pytest.mark.parametrize(
    ("name", "email", "field"),
    [("lamp", "bob@example.org", "name"), ("desk", "ann@example.org", "email")],
)
async def test_a_team_is_registered_as_a_whole_or_not_at_all(
    database: Database, name: str, email: str, field: str
) -> None:
    user = await database.register(NewTeam(name="lamp"), "ann@example.org", "hash")
    with pytest.raises(errors.ConflictError) as caught:
        await database.register(NewTeam(name=name), email, "hash")
    assert caught.value.field == field
    assert [team.id for team in await database.teams.page(limit=5)] == [user.team_id]
    assert list(await database.users.page(limit=5)) == [user]


async def test_of_many_who_register_one_email_at_once_exactly_one_wins(database: Database) -> None:
    attempts = [
        database.register(NewTeam(name=str(number)), "ann@example.org", "hash")
        for number in range(8)
    ]
    ended = await asyncio.gather(*attempts, return_exceptions=True)
    assert sum(isinstance(end, errors.ConflictError) for end in ended) == 7
    assert len(await database.teams.page(limit=9)) == 1
    assert len(await database.users.page(limit=9)) == 1


async def test_a_user_is_found_by_the_email(database: Database) -> None:
    _, user = await samples.of("users").create(database, "ann@example.org", "bob@example.org")
    assert await database.users.by_email("bob@example.org") == user


async def test_an_email_of_nobody_finds_nobody(database: Database) -> None:
    await samples.of("users").create(database, "ann@example.org")
    for email in ("bob@example.org", "Ann@example.org", "", "ann@example.or_"):
        with pytest.raises(errors.NotFoundError):
            await database.users.by_email(email)


async def test_a_key_of_a_team_without_a_quota_has_no_limits(database: Database) -> None:
    key = await create_key(database)
    await create_key(database)
    assert await database.grant(key.hash) == Grant(key, None)


async def test_a_key_has_the_quota_of_its_team(database: Database) -> None:
    key, other = await create_key(database), await create_key(database)
    quota = await database.quotas.create(
        NewQuota(team_id=key.team_id, requests_per_minute=0, tokens_per_minute=7)
    )
    assert await database.grant(key.hash) == Grant(key, Limits(0, 7))
    assert await database.grant(other.hash) == Grant(other, None)
    await database.quotas.update(quota.id, {"tokens_per_minute": 8})
    assert (await database.grant(key.hash)).limits == Limits(0, 8)


async def test_a_key_that_is_no_longer_good_is_found_as_such(database: Database) -> None:
    key = await create_key(database)
    changes = {"expires_at": LONG_AGO, "revoked_at": LONG_AGO}
    after = await database.keys.update(key.id, changes)
    assert (await database.grant(key.hash)).key == after
    assert not after.good(datetime.now(UTC))


async def test_a_hash_of_no_key_grants_nothing_and_is_not_told(database: Database) -> None:
    await create_key(database)
    with pytest.raises(errors.NotFoundError) as caught:
        await database.grant("5e4c8a7b")
    assert "5e4c8a7b" not in str(caught.value)
