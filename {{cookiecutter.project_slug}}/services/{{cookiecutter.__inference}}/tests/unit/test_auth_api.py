"""What people do for themselves: each route, and each status that it can end in."""

import asyncio
import unicodedata
from datetime import datetime
from operator import attrgetter
from typing import Any
from uuid import UUID

import httpx2
import pytest
from argon2 import PasswordHasher
from fastapi import FastAPI

from gateway import accounts, domain
from gateway.api.accounts import LOGIN_LIMITS, REGISTER_LIMITS
from gateway.app import create_app

from .conftest import HASHER, OPTIONS, World

PASSWORD = "correct horse battery"  # pragma: allowlist secret
ANN: dict[str, Any] = {"team": "Blue", "email": "ann@example.org", "password": PASSWORD}
BOB: dict[str, Any] = {"team": "Red", "email": "bob@example.org", "password": PASSWORD}
LOGIN = {"email": ANN["email"], "password": PASSWORD}
KEYS = "/auth/keys"
NOBODY = UUID(int=7)
MOST = LOGIN_LIMITS["logins with this email from this address"].tokens
Headers = dict[str, str]


async def login(client: httpx2.AsyncClient, **other: str) -> httpx2.Response:
    """Log Ann in, or somebody with another email or password."""
    return await client.post("/auth/login", json=LOGIN | other)


async def coming_from(app: FastAPI, address: str, path: str, body: object) -> httpx2.Response:
    """Register or log in from another address."""
    transport = httpx2.ASGITransport(app=app, client=(address, 1))
    async with httpx2.AsyncClient(transport=transport, base_url="http://service") as client:
        return await client.post(f"/auth/{path}", json=body)


async def logged_in(client: httpx2.AsyncClient, who: dict[str, Any]) -> Headers:
    """Register somebody, and return the header by which they are known."""
    assert (await client.post("/auth/register", json=who)).status_code == 201
    token = (await login(client, email=who["email"])).json()["token"]
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture(scope="module")
def _shared() -> FastAPI:
    return create_app(World().ports, OPTIONS, hasher=HASHER)


@pytest.fixture
def app(_shared: FastAPI, world: World) -> FastAPI:
    """One for all tests of this file: its first request costs 80 ms, in which routes are made."""
    _shared.state.ports = world.ports
    return _shared


@pytest.fixture
async def ann(client: httpx2.AsyncClient) -> Headers:
    return await logged_in(client, ANN)


@pytest.fixture
async def bob(client: httpx2.AsyncClient) -> Headers:
    return await logged_in(client, BOB)


async def create_key(client: httpx2.AsyncClient, who: Headers, **body: object) -> dict[str, Any]:
    response = await client.post(KEYS, json=body, headers=who)
    assert response.status_code == 201
    found: dict[str, Any] = response.json()
    return found


def param(response: httpx2.Response) -> str:
    assert response.status_code == 400, response.text
    found: str = response.json()["error"]["param"]
    return found


async def test_register_answers_201_with_the_user_and_a_team_that_has_no_budget(
    client: httpx2.AsyncClient,
) -> None:
    response = await client.post("/auth/register", json={**ANN, "email": " Ann@Example.org"})
    assert response.status_code == 201
    user, team = response.json()["user"], response.json()["team"]
    assert (user["email"], user["role"], user["team_id"]) == (ANN["email"], "admin", team["id"])
    assert (team["name"], team["budget_cents"], team["spent_cents"]) == ("Blue", 0, 0)
    assert "hash" not in response.text


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("team", ["", "a\0b"]),
        ("email", ["ann"]),
        ("password", ["short", 257 * "x", None]),  # pragma: allowlist secret
        ("role", ["admin"]),
    ],
)
async def test_register_answers_400_and_names_what_is_wrong(
    client: httpx2.AsyncClient, field: str, values: list[object]
) -> None:
    for value in values:
        response = await client.post("/auth/register", json={**ANN, field: value})
        assert param(response) == field


@pytest.mark.parametrize("what", REGISTER_LIMITS)
async def test_register_answers_429_after_too_many_in_a_minute(
    app: FastAPI, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setitem(REGISTER_LIMITS, what, domain.Limits(requests=1, tokens=1))
    address, other = ("198.51.100.1", "198.51.100.2") if "address" in what else ("a", "b")
    assert (await coming_from(app, address, "register", ANN)).status_code == 201
    response = await coming_from(app, address, "register", BOB)
    assert (response.status_code, response.headers["retry-after"]) == (429, "60")
    assert what in response.text
    elsewhere = await coming_from(app, other, "register", BOB)
    assert elsewhere.status_code == (201 if "address" in what else 429)


async def test_register_answers_403_where_it_is_closed(world: World) -> None:
    closed = create_app(world.ports, OPTIONS.model_copy(update={"registration": False}))
    response = await coming_from(closed, "a", "register", ANN)
    assert response.status_code == 403
    assert response.json()["error"]["code"] == "registration_closed"


@pytest.mark.parametrize(
    ("path", "body", "slow"), [("/auth/login", LOGIN, "users.open_session"), (KEYS, {}, "keys.add")]
)
async def test_who_is_locked_out_in_the_middle_gets_neither_session_nor_key(
    client: httpx2.AsyncClient, ann: Headers, world: World, path: str, body: object, slow: str
) -> None:
    owner, method = slow.split(".")
    finish = attrgetter(slow)(world.database)

    async def lock_out_and_finish(*arguments: object) -> object:
        user = await world.database.users.by_email(ANN["email"])
        await world.database.users.update(user.id, {"password_hash": None})
        return await finish(*arguments)

    setattr(getattr(world.database, owner), method, lock_out_and_finish)
    assert (await client.post(path, json=body, headers=ann)).status_code == 401
    assert not list(world.database.keys)


async def test_a_password_that_can_be_typed_in_two_ways_is_one(client: httpx2.AsyncClient) -> None:
    # Three times as long where a keyboard sends the parts of each syllable.
    syllables = {**ANN, "password": "\ud55c" * 100}
    assert (await client.post("/auth/register", json=syllables)).status_code == 201
    parts = unicodedata.normalize("NFD", syllables["password"])
    assert (await login(client, password=parts)).status_code == 200


async def test_login_answers_200_with_a_token_that_is_good_for_a_while(
    client: httpx2.AsyncClient, ann: Headers, world: World
) -> None:
    response = await login(client)
    assert response.status_code == 200
    assert response.headers["cache-control"] == "no-store"
    assert response.json()["token_type"] == "bearer"  # pragma: allowlist secret
    expires_at = datetime.fromisoformat(response.json()["expires_at"])
    assert (expires_at - world.clock.now()).total_seconds() == OPTIONS.session_ttl
    assert (await client.get("/auth/me", headers=ann)).status_code == 200
    world.clock.advance(OPTIONS.session_ttl)
    assert (await client.get("/auth/me", headers=ann)).status_code == 401


async def test_login_answers_401_and_does_not_tell_what_is_wrong(
    client: httpx2.AsyncClient, ann: Headers, world: World
) -> None:
    team = await world.database.teams.create(domain.NewTeam(name="Green"))
    without = domain.NewUser(team_id=team.id, email="eve@example.org")
    await world.database.users.create(without)
    for wrong in ({"password": "x"}, {"email": "zoe@example.org"}, {"email": "eve@example.org"}):
        response = await login(client, **wrong)
        assert (response.status_code, response.headers["www-authenticate"]) == (401, "Bearer")
        assert response.json()["error"]["message"] == "wrong email or password"
    assert (await login(client, email="ann")).status_code == 400


async def test_login_answers_429_after_too_many_failures_even_to_the_right_password(
    app: FastAPI, client: httpx2.AsyncClient, ann: Headers, bob: Headers, world: World
) -> None:
    world.clock.advance(60)
    for _ in range(MOST):
        assert (await login(client, password="secret")).status_code == 401
    response = await login(client)
    assert response.status_code == 429
    assert response.json()["error"]["code"] == "rate_limit_exceeded"
    assert response.headers["retry-after"] == "60"
    # No other email, and nobody elsewhere.
    assert (await login(client, email=BOB["email"])).status_code == 200
    assert (await coming_from(app, "198.51.100.1", "login", LOGIN)).status_code == 200
    world.clock.advance(60)
    # Those that succeed are not counted as failures.
    for _ in range(MOST + 1):
        world.clock.advance(0.1)
        assert (await login(client)).status_code == 200


@pytest.mark.parametrize(
    ("others", "most"),
    [(False, "logins with this email from this address"), (True, "logins from this address")],
)
async def test_guesses_that_come_at_once_are_limited_as_well(
    client: httpx2.AsyncClient, most: str, *, others: bool
) -> None:
    many = LOGIN_LIMITS[most].tokens
    emails = [f"ann{number * others}@example.org" for number in range(many + 5)]
    guesses = [login(client, email=each, password="secret") for each in emails]
    answers = await asyncio.gather(*guesses)
    statuses = [response.status_code for response in answers]
    assert (statuses.count(401), statuses.count(429)) == (many, 5)
    assert most in answers[-1].text


@pytest.mark.parametrize(
    ("first", "second", "status"),
    [
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", 429),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", 401),
        ("198.51.100.1", "198.51.100.2", 401),
        ("a", "b", 401),
    ],
)
async def test_the_addresses_that_one_client_may_have_are_one(
    app: FastAPI, monkeypatch: pytest.MonkeyPatch, first: str, second: str, status: int
) -> None:
    once = domain.Limits(requests=1, tokens=1)
    monkeypatch.setitem(LOGIN_LIMITS, "logins from this address", once)
    assert (await coming_from(app, first, "login", LOGIN)).status_code == 401
    assert (await coming_from(app, second, "login", LOGIN)).status_code == status


async def test_of_too_many_passwords_at_once_some_are_refused(
    client: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accounts, "_places", asyncio.Semaphore(1))
    answers = await asyncio.gather(*(login(client) for _ in range(3)))
    assert sorted(answer.status_code for answer in answers) == [401, 503, 503]
    assert answers[-1].headers["retry-after"] == "1"


async def test_login_renews_a_hash_that_was_made_when_less_was_enough(
    client: httpx2.AsyncClient, ann: Headers, world: World
) -> None:
    user = await world.database.users.by_email(ANN["email"])
    older = PasswordHasher(time_cost=2, memory_cost=8, parallelism=1).hash(PASSWORD)
    await world.database.users.update(user.id, {"password_hash": older})
    for _ in range(2):
        assert (await login(client)).status_code == 200
        renewed = (await world.database.users.get(user.id)).password_hash
        assert renewed
        assert not HASHER.check_needs_rehash(renewed)


async def test_me_tells_who_is_logged_in_until_logout_answers_204(
    client: httpx2.AsyncClient, ann: Headers
) -> None:
    response = await client.get("/auth/me", headers=ann)
    assert (response.status_code, response.json()["team"]["name"]) == (200, "Blue")
    assert response.json()["user"]["email"] == ANN["email"]
    assert (await client.post("/auth/logout", headers=ann)).status_code == 204
    assert (await client.get("/auth/me", headers=ann)).status_code == 401


async def test_a_key_is_shown_once_with_201_and_kept_as_a_hash(
    client: httpx2.AsyncClient, ann: Headers, world: World
) -> None:
    body = {"name": "laptop", "expires_at": "2030-01-31T12:00:00+01:00"}
    response = await client.post(KEYS, json=body, headers=ann)
    created = response.json()
    assert (response.status_code, response.headers["cache-control"]) == (201, "no-store")
    assert created["key"].startswith(created["prefix"])
    assert (created["name"], created["expires_at"]) == ("laptop", "2030-01-31T11:00:00Z")
    [listed] = (await client.get(KEYS, headers=ann)).json()["data"]
    assert {**listed, "key": created["key"]} == created
    assert "hash" not in created
    assert (await world.database.keys.get(UUID(created["id"]))).hash not in response.text


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("name", ["", 7]),
        (
            "expires_at",
            [
                *(7, "1700000000", "2030-01-31", "2030-01-31T12:00:00"),
                *("2001-01-01T00:00:00Z", "2026-01-01T00:00:00Z", "0001-01-01T00:00:00+23:00"),
            ],
        ),
        ("user_id", [str(NOBODY)]),
    ],
)
async def test_create_key_answers_400_and_names_what_is_wrong(
    client: httpx2.AsyncClient, ann: Headers, field: str, values: list[object]
) -> None:
    for value in values:
        assert param(await client.post(KEYS, json={field: value}, headers=ann)) == field


async def test_list_keys_leads_from_page_to_page_of_ones_own(
    client: httpx2.AsyncClient, ann: Headers, bob: Headers
) -> None:
    await create_key(client, bob)
    created = [(await create_key(client, ann))["id"] for _ in range(3)]
    listed, following = [], f"{KEYS}?limit=2"
    while following:
        page = (await client.get(following, headers=ann)).json()
        listed += [each["id"] for each in page["data"]]
        following = page["next"]
    assert listed == created[::-1]
    for query in ("limit=0", "cursor=x", "x=1"):
        response = await client.get(f"{KEYS}?{query}", headers=ann)
        assert param(response) == query.partition("=")[0]


async def test_revoking_a_key_answers_204_and_everybody_is_told(
    client: httpx2.AsyncClient, ann: Headers, world: World
) -> None:
    id_ = (await create_key(client, ann))["id"]
    first, before = world.clock.now(), world.announcements.count
    world.announcements.down = True
    assert (await client.delete(f"{KEYS}/{id_}", headers=ann)).status_code == 503
    assert (await world.database.keys.get(UUID(id_))).good(world.clock.now())
    world.announcements.down = False
    for _ in range(2):
        assert (await client.delete(f"{KEYS}/{id_}", headers=ann)).status_code == 204
        world.clock.advance(1)
    assert world.announcements.count == before + 2
    # The first time that it was revoked stays.
    assert (await world.database.keys.get(UUID(id_))).revoked_at == first


async def test_a_key_of_another_answers_404_and_goes_on_working(
    client: httpx2.AsyncClient, ann: Headers, bob: Headers, world: World
) -> None:
    id_ = (await create_key(client, ann))["id"]
    theirs = await client.delete(f"{KEYS}/{id_}", headers=bob)
    nobodys = await client.delete(f"{KEYS}/{NOBODY}", headers=bob)
    assert (theirs.status_code, nobodys.status_code) == (404, 404)
    assert (await client.delete(f"{KEYS}/7", headers=bob)).status_code == 400
    assert theirs.text.replace(id_, "") == nobodys.text.replace(str(NOBODY), "")
    assert (await world.database.keys.get(UUID(id_))).good(world.clock.now())
