"""The contract of the sessions that a `Database` keeps: they end with what they were opened by."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from gateway import domain, errors
from gateway.ports import Database

from . import samples

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = NOW + timedelta(minutes=15)


async def user(database: Database) -> domain.User:
    made = await samples.user(database)
    return await database.users.update(made.id, {"password_hash": "secret"})


async def opened(
    database: Database, of: domain.User, until: datetime = LATER, now: datetime = NOW
) -> domain.Session:
    session = domain.Session(uuid4().hex, of.id, until)
    await database.users.open_session(session, of.password_hash or "", now)
    return session


async def is_open(database: Database, session: domain.Session) -> bool:
    try:
        return (await database.users.session(session.hash))[0] == session
    except errors.NotFoundError:
        return False


async def key(database: Database, of: domain.User) -> domain.ApiKey:
    new = domain.NewApiKey(team_id=of.team_id, user_id=of.id, hash=uuid4().hex, prefix="sk-")
    return await database.keys.create(new)


async def test_a_session_tells_whose_it_is_until_it_is_ended(database: Database) -> None:
    ann = await user(database)
    session, other = await opened(database, ann), await opened(database, ann)
    assert await database.users.session(session.hash) == (session, ann)
    for _ in range(2):
        await database.users.end_session(session.hash)
    assert not await is_open(database, session)
    assert await is_open(database, other)


@pytest.mark.parametrize("password_hash", ["another", None])
async def test_another_password_ends_the_sessions_and_none_revokes_the_keys_as_well(
    database: Database, password_hash: str | None
) -> None:
    ann, bob = await user(database), await user(database)
    sessions = [await opened(database, each) for each in (ann, bob)]
    keys = [await key(database, each) for each in (ann, bob)]
    await database.users.update(ann.id, {"role": "admin"})
    assert await is_open(database, sessions[0])
    await database.users.update(ann.id, {"password_hash": password_hash})
    assert [await is_open(database, each) for each in sessions] == [False, True]
    revoked = [(await database.keys.get(each.id)).revoked_at for each in keys]
    assert [bool(at) for at in revoked] == [password_hash is None, False]
    await database.users.update(ann.id, {"password_hash": None})
    if password_hash is None:
        assert (await database.keys.get(keys[0].id)).revoked_at == revoked[0]


async def test_who_has_another_password_by_now_opens_no_session(database: Database) -> None:
    ann = await user(database)
    for changed in ("another", None):
        await database.users.update(ann.id, {"password_hash": changed})
        with pytest.raises(errors.NotFoundError):
            await opened(database, ann)


async def test_expired_sessions_are_forgotten_with_the_next_one(database: Database) -> None:
    ann = await user(database)
    old = await opened(database, ann)
    assert await is_open(database, old)
    await opened(database, ann, LATER + timedelta(minutes=15), LATER)
    assert not await is_open(database, old)


async def test_sessions_go_with_their_user(database: Database) -> None:
    ann = await user(database)
    session = await opened(database, ann)
    await database.users.remove(ann.id)
    with pytest.raises(errors.NotFoundError):
        await database.users.session(session.hash)
