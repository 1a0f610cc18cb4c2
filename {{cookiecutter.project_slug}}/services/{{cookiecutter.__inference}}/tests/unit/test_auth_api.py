"""What people do for themselves: each route, and each status that it can end in.

Those of administrators are here as well, where they lack their credential or their servers.
"""

import asyncio
import re
import unicodedata
from collections.abc import Iterator
from datetime import datetime
from operator import attrgetter
from typing import Any
from uuid import UUID

import pytest
from argon2 import PasswordHasher
from fastapi import FastAPI
from httpx2 import ASGITransport, AsyncClient, Response

from gateway import accounts, domain
from gateway.api.accounts import LOGIN_LIMITS, REGISTER_LIMITS
from gateway.app import create_app

from ..samples import SAMPLES
from .conftest import ADMIN_TOKEN, HASHER, OPTIONS, World, refusal

# Three times as long where a keyboard sends the parts of each syllable: they are one all the same.
PASSWORD = "\ud55c" * 100
TYPED = unicodedata.normalize("NFD", PASSWORD)
ANN: dict[str, Any] = {"team": "Blue", "email": "ann@example.org", "password": PASSWORD}
BOB: dict[str, Any] = {"team": "Red", "email": "bob@example.org", "password": PASSWORD}
ANNS = {"email": ANN["email"], "password": TYPED}
REGISTER, LOGIN, KEYS, ME = "/auth/register", "/auth/login", "/auth/keys", "/auth/me"
BODIES = {REGISTER: ANN, LOGIN: ANNS, KEYS: {}}
NOBODY = UUID(int=7)
WRONG = ("", "Bearer x", "Bearer ", f"Basic {ADMIN_TOKEN}", f"Bearer {ADMIN_TOKEN}x", "é")
MOST = LOGIN_LIMITS["logins with this email from this address"].tokens


def connect(app: FastAPI, address: str = "a") -> AsyncClient:
    """Return a client that comes from an address."""
    transport = ASGITransport(app=app, client=(address, 1))
    return AsyncClient(transport=transport, base_url="http://service")


async def login(client: AsyncClient, **other: str) -> Response:
    """Log Ann in, or somebody with another email or password."""
    return await client.post(LOGIN, json=ANNS | other)


async def logged_in(app: FastAPI, who: dict[str, Any]) -> AsyncClient:
    """Register somebody, and return a client that has logged them in."""
    client = connect(app)
    assert (await client.post(REGISTER, json=who)).status_code == 201
    token = (await login(client, email=who["email"])).json()["token"]
    client.headers["Authorization"] = f"Bearer {token}"
    return client


def operations(app: FastAPI) -> Iterator[tuple[str, str]]:
    """Yield the method and the path of each; an id in it is nobody's."""
    for path, methods in app.openapi()["paths"].items():
        if path.startswith(("/admin/", "/auth/")):
            for method in methods:
                yield method.upper(), re.sub(r"{\w+}", str(NOBODY), path)


async def create_key(who: AsyncClient) -> str:
    return str((await who.post(KEYS, json={})).json()["id"])


@pytest.fixture
async def ann(app: FastAPI) -> AsyncClient:
    return await logged_in(app, ANN)


@pytest.fixture
async def bob(app: FastAPI) -> AsyncClient:
    return await logged_in(app, BOB)


async def test_every_route_answers_401_to_strangers(app: FastAPI, client: AsyncClient) -> None:
    for method, path in operations(app):
        for authorization in WRONG if path not in {REGISTER, LOGIN} else ():
            headers = {b"Authorization": authorization.encode()}
            response = await client.request(method, path, headers=headers)
            assert refusal(response) == (401, None, "invalid_api_key"), (method, path)
            assert response.headers["www-authenticate"] == "Bearer"


async def test_every_route_answers_503_without_its_servers(
    app: FastAPI, ann: AsyncClient, world: World
) -> None:
    world.database.down = world.announcements.down = world.limiter.down = True
    for method, path in operations(app):
        headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"} if path.startswith("/admin/") else {}
        response = await ann.request(method, path, json=BODIES.get(path), headers=headers)
        assert response.status_code == 503, (method, path)
        assert response.headers["retry-after"] == "1"


async def test_register_answers_201_and_the_team_has_no_budget(client: AsyncClient) -> None:
    response = await client.post(REGISTER, json={**ANN, "email": " Ann@Example.org"})
    assert response.status_code == 201
    user, team = response.json()["user"], response.json()["team"]
    assert (user["email"], user["role"], user["team_id"]) == (ANN["email"], "admin", team["id"])
    assert (team["name"], team["budget_cents"], team["spent_cents"]) == ("Blue", 0, 0)
    assert "hash" not in response.text


@pytest.mark.parametrize(
    ("path", "field", "values"),
    [
        (REGISTER, "team", ["", "a\0b"]),
        (REGISTER, "email", ["ann"]),
        (REGISTER, "password", ["short", 257 * "x", None]),  # pragma: allowlist secret
        (REGISTER, "role", ["admin"]),
        (LOGIN, "email", ["ann"]),
        (KEYS, "name", ["", 7]),
        (KEYS, "expires_at", [7, "1700000000", "2030-01-31", "2030-01-31T12:00:00"]),
        (KEYS, "expires_at", ["2001-01-01T00:00:00Z", "2026-01-01T00:00:00Z"]),
        (KEYS, "expires_at", ["0001-01-01T00:00:00+23:00"]),
        (KEYS, "user_id", [str(NOBODY)]),
    ],
)
async def test_a_wrong_field_answers_400_and_is_named(
    ann: AsyncClient, path: str, field: str, values: list[object]
) -> None:
    for value in values:
        response = await ann.post(path, json={**BODIES[path], field: value})
        assert refusal(response)[:2] == (400, field)


@pytest.mark.parametrize("what", REGISTER_LIMITS)
async def test_register_answers_429_after_too_many_in_a_minute(
    app: FastAPI, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setitem(REGISTER_LIMITS, what, domain.Limits(requests=1, tokens=1))
    address, other = ("198.51.100.1", "198.51.100.2") if "address" in what else ("a", "b")
    assert (await connect(app, address).post(REGISTER, json=ANN)).status_code == 201
    response = await connect(app, address).post(REGISTER, json=BOB)
    assert (response.status_code, response.headers["retry-after"]) == (429, "60")
    assert what in response.text
    elsewhere = await connect(app, other).post(REGISTER, json=BOB)
    assert elsewhere.status_code == (201 if "address" in what else 429)


async def test_register_answers_403_where_it_is_closed(world: World) -> None:
    closed = create_app(world.ports, OPTIONS.model_copy(update={"registration": False}))
    response = await connect(closed).post(REGISTER, json=ANN)
    assert refusal(response) == (403, None, "registration_closed")


@pytest.mark.parametrize(("path", "slow"), [(LOGIN, "users.add_session"), (KEYS, "keys.add")])
async def test_who_is_locked_out_in_the_middle_gets_neither_session_nor_key(
    ann: AsyncClient, world: World, path: str, slow: str
) -> None:
    owner, method = slow.split(".")
    finish = attrgetter(slow)(world.database)

    async def lock_out_and_finish(*arguments: object) -> object:
        user = await world.database.users.by_email(ANN["email"])
        await world.database.users.update(user.id, {"password_hash": None})
        return await finish(*arguments)

    setattr(getattr(world.database, owner), method, lock_out_and_finish)
    assert (await ann.post(path, json=BODIES[path])).status_code == 401
    assert not list(world.database.keys)


async def test_a_login_is_good_for_a_while_or_until_logout(ann: AsyncClient, world: World) -> None:
    response = await login(ann)
    assert (response.status_code, response.headers["cache-control"]) == (200, "no-store")
    assert response.json()["token_type"] == "bearer"  # pragma: allowlist secret
    expires_at = datetime.fromisoformat(response.json()["expires_at"])
    assert (expires_at - world.clock.now()).total_seconds() == OPTIONS.session_ttl
    me = await ann.get(ME)
    assert (me.status_code, me.json()["team"]["name"]) == (200, "Blue")
    assert me.json()["user"]["email"] == ANN["email"]
    assert (await ann.post("/auth/logout")).status_code == 204
    assert (await ann.get(ME)).status_code == 401
    ann.headers["Authorization"] = f"Bearer {response.json()['token']}"
    assert (await ann.get(ME)).status_code == 200
    world.clock.advance(OPTIONS.session_ttl)
    assert (await ann.get(ME)).status_code == 401


async def test_login_answers_401_without_saying_why(ann: AsyncClient, world: World) -> None:
    [eve] = await SAMPLES["users"].add(world.database, "eve@example.org", password_hash=None)
    for wrong in ({"password": "x"}, {"email": "zoe@example.org"}, {"email": eve.email}):
        response = await login(ann, **wrong)
        assert (response.status_code, response.headers["www-authenticate"]) == (401, "Bearer")
        assert response.json()["error"]["message"] == "wrong email or password"


async def test_login_answers_429_after_too_many_failures_even_to_the_right_password(
    app: FastAPI, ann: AsyncClient, bob: AsyncClient, world: World
) -> None:
    world.clock.advance(60)
    for _ in range(MOST):
        assert (await login(ann, password="secret")).status_code == 401
    response = await login(ann)
    assert refusal(response) == (429, None, "rate_limit_exceeded")
    assert response.headers["retry-after"] == "60"
    # No other email, and nobody elsewhere.
    assert (await login(ann, email=BOB["email"])).status_code == 200
    assert (await login(connect(app, "198.51.100.1"))).status_code == 200
    world.clock.advance(60)
    # Those that succeed are not counted as failures.
    for _ in range(MOST + 1):
        world.clock.advance(0.1)
        assert (await login(ann)).status_code == 200


@pytest.mark.parametrize(
    ("others", "most"),
    [(0, "logins with this email from this address"), (1, "logins from this address")],
)
async def test_guesses_at_once_are_limited_too(client: AsyncClient, others: int, most: str) -> None:
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
    assert (await login(connect(app, first))).status_code == 401
    assert (await login(connect(app, second))).status_code == status


async def test_of_too_many_passwords_at_once_some_are_refused(
    client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accounts, "_places", asyncio.Semaphore(1))
    answers = await asyncio.gather(*(login(client) for _ in range(3)))
    assert sorted(answer.status_code for answer in answers) == [401, 503, 503]
    assert answers[-1].headers["retry-after"] == "1"


async def test_login_renews_a_hash_that_cost_less(ann: AsyncClient, world: World) -> None:
    user = await world.database.users.by_email(ANN["email"])
    older = PasswordHasher(time_cost=2, memory_cost=8, parallelism=1).hash(PASSWORD)
    await world.database.users.update(user.id, {"password_hash": older})
    for _ in range(2):
        assert (await login(ann)).status_code == 200
        renewed = (await world.database.users.get(user.id)).password_hash
        assert renewed
        assert not HASHER.check_needs_rehash(renewed)


async def test_a_key_is_shown_once_and_kept_as_a_hash(ann: AsyncClient, world: World) -> None:
    body = {"name": "laptop", "expires_at": "2030-01-31T12:00:00+01:00"}
    response = await ann.post(KEYS, json=body)
    created = response.json()
    assert (response.status_code, response.headers["cache-control"]) == (201, "no-store")
    assert created["key"].startswith(created["prefix"])
    assert (created["name"], created["expires_at"]) == ("laptop", "2030-01-31T11:00:00Z")
    [listed] = (await ann.get(KEYS)).json()["data"]
    assert {**listed, "key": created["key"]} == created
    assert "hash" not in created
    assert (await world.database.keys.get(UUID(created["id"]))).hash not in response.text


async def test_the_list_of_keys_is_of_ones_own(ann: AsyncClient, bob: AsyncClient) -> None:
    await create_key(bob)
    created = [await create_key(ann) for _ in range(3)]
    first = (await ann.get(f"{KEYS}?limit=2")).json()
    second = (await ann.get(first["next"])).json()
    assert [each["id"] for each in first["data"] + second["data"]] == created[::-1]
    assert second["next"] is None
    for query in ("limit=0", "cursor=x", "x=1"):
        assert refusal(await ann.get(f"{KEYS}?{query}"))[:2] == (400, query.partition("=")[0])


async def test_a_key_is_revoked_and_everybody_is_told(ann: AsyncClient, world: World) -> None:
    id_ = await create_key(ann)
    first, before = world.clock.now(), world.announcements.count
    world.announcements.down = True
    assert (await ann.delete(f"{KEYS}/{id_}")).status_code == 503
    assert (await world.database.keys.get(UUID(id_))).good(world.clock.now())
    world.announcements.down = False
    for _ in range(2):
        assert (await ann.delete(f"{KEYS}/{id_}")).status_code == 204
        world.clock.advance(1)
    assert world.announcements.count == before + 2
    # The first time that it was revoked stays.
    assert (await world.database.keys.get(UUID(id_))).revoked_at == first


async def test_a_key_of_another_answers_404_and_goes_on_working(
    ann: AsyncClient, bob: AsyncClient, world: World
) -> None:
    id_ = await create_key(ann)
    theirs = await bob.delete(f"{KEYS}/{id_}")
    nobodys = await bob.delete(f"{KEYS}/{NOBODY}")
    assert (theirs.status_code, nobodys.status_code) == (404, 404)
    assert (await bob.delete(f"{KEYS}/7")).status_code == 400
    assert theirs.text.replace(id_, "") == nobodys.text.replace(str(NOBODY), "")
    assert (await world.database.keys.get(UUID(id_))).good(world.clock.now())
