"""The contracts of registrations, sessions, grants of keys, and budgets."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway import domain, errors
from gateway.domain import MICROCENTS, Limits, NewQuota, NewTeam, Team
from gateway.ports import Database, Grant

from .. import samples

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LIFETIME = timedelta(minutes=15)
EMAIL = "ann@example.org"
LONG, OVER = 3600.0, -1.0
"""TTLs of reservations that outlive the test, or have expired from the start."""


async def opened(database: Database, of: domain.User, now: datetime = NOW) -> domain.Session:
    session = domain.Session(uuid4().hex, of.id, now + LIFETIME)
    await database.users.add_session(session, of.password_hash or "", now)
    return session


async def is_open(database: Database, session: domain.Session) -> bool:
    try:
        return (await database.users.session(session.hash))[0] == session
    except errors.NotFoundError:
        return False


async def test_a_team_is_registered_with_an_admin_who_is_found_by_email(database: Database) -> None:
    user = await database.register(NewTeam(name="lamp", budget_cents=5), EMAIL, "hash")
    assert (user.email, user.role, user.password_hash) == (EMAIL, "admin", "hash")
    team = await database.teams.get(user.team_id)
    assert (team.name, team.budget_cents, team.spent_microcents) == ("lamp", 5, 0)
    assert await database.users.get(user.id) == user
    for email in (EMAIL, "bob@example.org", "Ann@example.org", "", "ann@example.or_"):
        found = await database.users.page(limit=1, where={"email": email})
        assert found == ([user] if email == EMAIL else [])


@pytest.mark.parametrize(
    ("name", "email", "field"), [("lamp", "{}@example.org", "name"), ("{}", EMAIL, "email")]
)
async def test_of_concurrent_registrations_one_succeeds_and_the_others_leave_nothing_behind(
    database: Database, name: str, email: str, field: str
) -> None:
    news = [(NewTeam(name=name.format(n)), email.format(n)) for n in range(8)]
    attempts = [database.register(*new, "hash") for new in news]
    ended = await asyncio.gather(*attempts, return_exceptions=True)
    conflicts = [end.field for end in ended if isinstance(end, errors.ConflictError)]
    assert conflicts == [field] * 7
    [user] = [end for end in ended if isinstance(end, domain.User)]
    assert [team.id for team in await database.teams.page(limit=9)] == [user.team_id]
    assert list(await database.users.page(limit=9)) == [user]


async def test_a_session_is_found_until_it_ends_or_a_login_after_expiry(database: Database) -> None:
    ann = await samples.user(database)
    session, expired = await opened(database, ann), await opened(database, ann)
    assert await database.users.session(session.hash) == (session, ann)
    for _ in range(2):
        await database.users.end_session(session.hash)
    assert not await is_open(database, session)
    assert await is_open(database, expired)
    last = await opened(database, ann, NOW + LIFETIME)
    assert not await is_open(database, expired)
    assert await is_open(database, last)
    await database.users.remove(ann.id)
    assert not await is_open(database, last)


@pytest.mark.parametrize("password_hash", ["another", None])
async def test_a_new_password_ends_the_sessions_and_none_also_revokes_the_keys(
    database: Database, password_hash: str | None
) -> None:
    people = [await samples.user(database) for _ in range(2)]
    sessions = [await opened(database, each) for each in people]
    keys = [await samples.key(database, each) for each in people]
    await database.users.update(people[0].id, {"role": "member"})
    assert await is_open(database, sessions[0])
    await database.users.update(people[0].id, {"password_hash": password_hash})
    assert [await is_open(database, each) for each in sessions] == [False, True]
    # Nor can a session be opened by a login that has just verified the old password.
    with pytest.raises(errors.NotFoundError):
        await opened(database, people[0])
    revoked = [(await database.keys.get(each.id)).revoked_at for each in keys]
    assert [bool(at) for at in revoked] == [password_hash is None, False]
    await database.users.update(people[0].id, {"password_hash": None})
    if password_hash is None:
        assert (await database.keys.get(keys[0].id)).revoked_at == revoked[0]


async def test_a_grant_has_the_key_even_if_invalid_and_the_quota(database: Database) -> None:
    key, other = await samples.key(database), await samples.key(database)
    assert await database.grant(key.hash) == Grant(key, None)
    new = NewQuota(team_id=key.team_id, requests_per_minute=0, tokens_per_minute=7)
    quota = await database.quotas.add(uuid4(), new)
    assert await database.grant(key.hash) == Grant(key, Limits(0, 7))
    assert await database.grant(other.hash) == Grant(other, None)
    await database.quotas.update(quota.id, {"tokens_per_minute": 8})
    after = await database.keys.update(key.id, {"expires_at": NOW, "revoked_at": NOW})
    assert await database.grant(key.hash) == Grant(after, Limits(0, 8))
    assert not after.good(NOW)
    with pytest.raises(errors.NotFoundError) as caught:
        await database.grant("5e4c8a7b")
    # The hash is not quoted.
    assert "5e4c8a7b" not in str(caught.value)


async def spent(database: Database, *teams: Team) -> list[int]:
    return [(await database.teams.get(team.id)).spent_microcents for team in teams]


async def reserve(database: Database, team: Team, microcents: int, ttl: float = LONG) -> UUID:
    reservation = uuid4()
    await database.reserve(reservation, team.id, microcents, ttl=ttl)
    return reservation


@pytest.mark.parametrize("cents", [0, 1, domain.INTEGER_LIMIT])
async def test_overspending_is_refused(database: Database, cents: int) -> None:
    team, budget = await samples.team(database, cents), cents * MICROCENTS
    for microcents in (budget + 1, budget + 2**31, 2**63, 10**30):
        with pytest.raises(errors.BudgetError):
            await reserve(database, team, microcents)
    assert await spent(database, team) == [0]
    await reserve(database, team, budget)


@pytest.mark.parametrize("used", [0, 5, 2 * MICROCENTS, 10**30])
async def test_usage_is_charged_once_however_much_it_is(database: Database, used: int) -> None:
    team = await samples.team(database, cents=1)
    reservation = await reserve(database, team, MICROCENTS)
    for _ in range(2):
        await database.settle(reservation, used)
        # Capped at the column's maximum, and without an update of the team.
        charged = replace(team, spent_microcents=min(used, 2**63 - 1))
        assert await database.teams.get(team.id) == charged


async def test_expired_reservations_are_given_back_and_settled_once(database: Database) -> None:
    team, other = [await samples.team(database) for _ in range(2)]
    early = [await reserve(database, each, 300_000, OVER) for each in (team, team, other)]
    renewed, held = await reserve(database, team, 5, OVER), await reserve(database, team, 7)
    await database.renew([renewed, uuid4()], ttl=LONG)
    assert await database.give_back() == 3
    assert await database.give_back() == 0
    assert await spent(database, team, other) == [12, 0]
    for reservation in (renewed, held, *early, *early):
        await database.settle(reservation, 100_000)
    assert await spent(database, team, other) == [400_000, 100_000]


async def test_a_removed_team_cannot_reserve_and_settling_is_ignored(database: Database) -> None:
    team = await samples.team(database)
    removed = [await reserve(database, team, 1, ttl) for ttl in (OVER, LONG)]
    await database.teams.remove(team.id)
    with pytest.raises(errors.BudgetError):
        await reserve(database, team, 0)
    await database.give_back()
    for reservation in removed:
        await database.settle(reservation, 1)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # Each has its own team.
@given(amounts=st.lists(st.integers(1, MICROCENTS), max_size=12), cents=st.integers(0, 3))
async def test_concurrent_reservations_succeed_as_far_as_the_budget_goes(
    database: Database, amounts: list[int], cents: int
) -> None:
    team = await samples.team(database, cents)
    attempts = [reserve(database, team, amount) for amount in amounts]
    ended = await asyncio.gather(*attempts, return_exceptions=True)
    pairs = list(zip(amounts, ended, strict=True))
    taken = sum(amount for amount, end in pairs if isinstance(end, UUID))
    refused = [amount for amount, end in pairs if not isinstance(end, UUID)]
    assert {type(end) for end in ended} <= {errors.BudgetError, UUID}
    assert await spent(database, team) == [taken]
    # Refused amounts would still be too much, since nothing is given back here.
    assert taken <= cents * MICROCENTS
    assert all(taken + amount > cents * MICROCENTS for amount in refused)
