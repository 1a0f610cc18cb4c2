"""Routes for accounts and their keys, and errors that all routes have in common."""

import asyncio
import re
import unicodedata
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from argon2 import PasswordHasher
from fastapi import FastAPI
from httpx2 import ASGITransport, AsyncClient, Response

from gateway import accounts, domain
from gateway.api.accounts import LOGIN_LIMITS, REGISTER_LIMITS
from gateway.api.models import PATH as MODELS
from gateway.api.pages import METRICS
from gateway.app import create_app

from ..samples import SAMPLES
from .conftest import ADMIN_TOKEN, HASHER, OPTIONS, World, meanwhile, refusal

# Keyboards that decompose syllables send three times the characters for the same password.
PASSWORD = "\ud55c" * 100
TYPED = unicodedata.normalize("NFD", PASSWORD)
ANN: dict[str, Any] = {"team": "Blue", "email": "ann@example.org", "password": PASSWORD}
BOB: dict[str, Any] = {"team": "Red", "email": "bob@example.org", "password": PASSWORD}
ANNS = {"email": ANN["email"], "password": TYPED}
REGISTER, LOGIN, KEYS, ME = "/auth/register", "/auth/login", "/auth/keys", "/auth/me"
BODIES = {REGISTER: ANN, LOGIN: ANNS, KEYS: {}}
NOBODY = UUID(int=7)
WRONG = (None, "", "Bearer x", "Bearer ", f"Basic {ADMIN_TOKEN}", f"Bearer {ADMIN_TOKEN}x", "é")
MOST = LOGIN_LIMITS["logins with this email from this address"].tokens


def connect(app: FastAPI, address: str = "a") -> AsyncClient:
    """Return a client with this address."""
    transport = ASGITransport(app=app, client=(address, 1))
    return AsyncClient(transport=transport, base_url="http://service")


async def login(client: AsyncClient, **other: str) -> Response:
    """Log in as Ann, or with another email or password."""
    return await client.post(LOGIN, json=ANNS | other)


async def logged_in(app: FastAPI, who: dict[str, Any]) -> AsyncClient:
    """Register an account, and return a client that is logged in."""
    client = connect(app)
    assert (await client.post(REGISTER, json=who)).status_code == 201
    token = (await login(client, email=who["email"])).json()["token"]
    client.headers["Authorization"] = f"Bearer {token}"
    return client


def operations(app: FastAPI) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Yield the method, the path with an unknown id, and administrators' headers of each route."""
    for path, methods in app.openapi()["paths"].items():
        headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"} if "/admin/" in path else {}
        if not path.startswith(("/health/", METRICS)):
            for method in methods:
                yield method.upper(), re.sub(r"{\w+}", str(NOBODY), path), headers


async def create_key(who: AsyncClient) -> str:
    return str((await who.post(KEYS, json={})).json()["id"])


@pytest.fixture
async def ann(app: FastAPI) -> AsyncClient:
    return await logged_in(app, ANN)


@pytest.fixture
async def bob(app: FastAPI) -> AsyncClient:
    return await logged_in(app, BOB)


async def test_every_route_needs_a_valid_credential(app: FastAPI, client: AsyncClient) -> None:
    for method, path, _ in operations(app):
        for given in WRONG if path not in {REGISTER, LOGIN} else ():
            headers = {b"Authorization": given.encode()} if given is not None else {}
            response = await client.request(method, path, headers=headers)
            assert refusal(response) == (401, None, "invalid_api_key"), (method, path)
            assert response.headers["www-authenticate"] == "Bearer"


async def test_unknown_ids_return_404_invalid_ones_400(app: FastAPI, ann: AsyncClient) -> None:
    bad = dict.fromkeys(("7", "%00", "%F0%9F%92%A9", "0" * 40), (400, "invalid_value"))
    for method, path, headers in operations(app):
        for id_, told in {str(NOBODY): (404, "not_found"), **bad}.items():
            if str(NOBODY) in path and not path.startswith(MODELS):
                there = path.replace(str(NOBODY), id_)
                response = await ann.request(method, there, json={}, headers=headers)
                assert refusal(response)[::2] == told, (method, there)


async def test_every_route_returns_503_without_its_servers(
    app: FastAPI, ann: AsyncClient, world: World
) -> None:
    world.database.down = world.limiter.down = True
    for method, path, headers in operations(app):
        response = await ann.request(method, path, json=BODIES.get(path), headers=headers)
        assert response.status_code == 503, (method, path)
        assert response.headers["retry-after"] == "1"
    ready = await ann.get("/health/ready")
    assert refusal(ready) == (503, None, "unavailable")
    assert ready.json()["error"]["message"] == "down: postgres, redis"


async def test_a_registered_user_is_logged_in_until_they_log_out_or_the_session_expires(
    client: AsyncClient, world: World
) -> None:
    registered = await client.post(REGISTER, json={**ANN, "email": " Ann@Example.org"})
    account = registered.json()
    user, team = account["user"], account["team"]
    assert (user["email"], user["role"], user["team_id"]) == (ANN["email"], "admin", team["id"])
    assert (team["name"], team["budget_cents"], team["spent_cents"]) == ("Blue", 0, 0)
    assert "hash" not in registered.text

    response, other = [await login(client) for _ in range(2)]
    assert (response.status_code, response.headers["cache-control"]) == (200, "no-store")
    token, end = response.json()["token"], "2026-01-01T00:15:00Z"
    told = {"token": token, "token_type": "bearer", "expires_at": end}  # pragma: allowlist secret
    assert response.json() == told

    client.headers["Authorization"] = f"Bearer {token}"
    assert (await client.get(ME)).json() == account
    assert (await client.post("/auth/logout")).status_code == 204
    assert (await client.get(ME)).status_code == 401
    client.headers["Authorization"] = f"Bearer {other.json()['token']}"
    assert (await client.get(ME)).status_code == 200
    world.clock.advance(OPTIONS.session_ttl)
    assert (await client.get(ME)).status_code == 401


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
async def test_an_invalid_field_returns_400_with_its_name(
    ann: AsyncClient, path: str, field: str, values: list[object]
) -> None:
    for value in values:
        response = await ann.post(path, json={**BODIES[path], field: value})
        assert refusal(response)[:2] == (400, field)


async def test_register_returns_403_if_registration_is_closed(world: World) -> None:
    closed = create_app(world.ports, OPTIONS.model_copy(update={"registration": False}))
    response = await connect(closed).post(REGISTER, json=ANN)
    assert refusal(response) == (403, None, "registration_closed")


@pytest.mark.parametrize("path", [LOGIN, KEYS])
async def test_a_user_locked_out_during_a_request_gets_neither_session_nor_key(
    ann: AsyncClient, world: World, path: str
) -> None:
    async def lock_out() -> None:
        [user] = await world.database.users.find(email=ANN["email"])
        await world.database.users.update(user.id, {"password_hash": None})

    meanwhile(world.database.users, "add_session", lock_out)
    meanwhile(world.database.keys, "add", lock_out)
    assert (await ann.post(path, json=BODIES[path])).status_code == 401
    assert not list(world.database.keys)


async def test_login_returns_401_without_the_reason(ann: AsyncClient, world: World) -> None:
    [eve] = await SAMPLES["users"].add(world.database, "eve@example.org", password_hash=None)
    for wrong in ({"password": "x"}, {"email": "zoe@example.org"}, {"email": eve.email}):
        response = await login(ann, **wrong)
        assert (response.status_code, response.headers["www-authenticate"]) == (401, "Bearer")
        assert response.json()["error"]["message"] == "wrong email or password"


async def test_login_returns_429_after_too_many_failures_even_for_the_right_password(
    ann: AsyncClient, bob: AsyncClient, world: World
) -> None:
    world.clock.advance(60)
    # Concurrent guesses, too.
    guesses = await asyncio.gather(*(login(ann, password="secret") for _ in range(MOST + 5)))
    assert sorted(each.status_code for each in guesses) == [401] * MOST + [429] * 5
    response = await login(ann)
    assert refusal(response) == (429, None, "rate_limit_exceeded")
    assert response.headers["retry-after"] == "60"
    # Other emails are not affected.
    assert (await login(ann, email=BOB["email"])).status_code == 200
    world.clock.advance(60)
    # Successful logins are not counted.
    for _ in range(MOST + 1):
        world.clock.advance(0.1)
        assert (await login(ann)).status_code == 200


@pytest.mark.parametrize(
    ("what", "first", "second", "status"),
    [
        ("registrations", "a", "b", 429),
        ("registrations from this address", "a", "a", 429),
        ("registrations from this address", "198.51.100.1", "198.51.100.2", 201),
        ("logins from this address", "a", "b", 401),
        ("logins from this address", "198.51.100.1", "198.51.100.2", 401),
        # One client may have all addresses of an IPv6 network.
        ("logins from this address", "2001:db8:0:1::1", "2001:db8:0:1:ffff::2", 429),
        ("logins from this address", "2001:db8:0:1::1", "2001:db8:0:2::1", 401),
        ("logins with this email from this address", "a", "b", 401),
        ("logins with this email", "a", "b", 429),
    ],
)
async def test_limits_apply_by_address_by_email_or_to_everybody(
    app: FastAPI, monkeypatch: pytest.MonkeyPatch, what: str, first: str, second: str, status: int
) -> None:
    limits, path = (LOGIN_LIMITS, LOGIN) if "logins" in what else (REGISTER_LIMITS, REGISTER)
    monkeypatch.setitem(limits, what, domain.Limits(requests=1, tokens=1))
    bodies = {LOGIN: (ANNS, ANNS), REGISTER: (ANN, BOB)}[path]
    assert (await connect(app, first).post(path, json=bodies[0])).status_code in {201, 401}
    response = await connect(app, second).post(path, json=bodies[1])
    assert (response.status_code, what in response.text) == (status, status == 429)


async def test_too_many_concurrent_password_checks_return_503(
    client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accounts, "_places", asyncio.Semaphore(1))
    answers = await asyncio.gather(*(login(client) for _ in range(3)))
    assert sorted(answer.status_code for answer in answers) == [401, 503, 503]
    assert answers[-1].headers["retry-after"] == "1"


async def test_login_renews_a_hash_with_outdated_parameters(ann: AsyncClient, world: World) -> None:
    [user] = await world.database.users.find(email=ANN["email"])
    older = PasswordHasher(time_cost=2, memory_cost=8, parallelism=1).hash(PASSWORD)
    await world.database.users.update(user.id, {"password_hash": older})
    for _ in range(2):
        assert (await login(ann)).status_code == 200
        renewed = (await world.database.users.get(user.id)).password_hash
        assert renewed
        assert not HASHER.check_needs_rehash(renewed)


async def test_a_key_is_shown_once_stored_as_a_hash_and_listed_for_its_owner(
    ann: AsyncClient, bob: AsyncClient, world: World
) -> None:
    await create_key(bob)
    older = [await create_key(ann) for _ in range(2)]
    body = {"name": "laptop", "expires_at": "2030-01-31T12:00:00+01:00"}
    response = await ann.post(KEYS, json=body)
    created = response.json()
    assert (response.status_code, response.headers["cache-control"]) == (201, "no-store")
    assert created["key"].startswith(created["prefix"])
    assert (created["name"], created["expires_at"]) == ("laptop", "2030-01-31T11:00:00Z")
    first = (await ann.get(f"{KEYS}?limit=2")).json()
    second = (await ann.get(first["next"])).json()
    shown, *others = first["data"] + second["data"]
    assert {**shown, "key": created["key"]} == created
    assert ([each["id"] for each in others], second["next"]) == (older[::-1], None)
    kept = await world.database.keys.get(UUID(created["id"]))
    assert "hash" not in created
    assert kept.hash not in response.text + repr(kept)
    for query in ("limit=0", "cursor=x", "x=1"):
        assert refusal(await ann.get(f"{KEYS}?{query}"))[:2] == (400, query.partition("=")[0])


async def test_a_key_is_revoked_only_by_its_owner_and_only_if_it_can_be_announced(
    ann: AsyncClient, bob: AsyncClient, world: World
) -> None:
    id_ = await create_key(ann)
    theirs, nobodys = [await bob.delete(f"{KEYS}/{each}") for each in (id_, NOBODY)]
    assert (theirs.status_code, nobodys.status_code) == (404, 404)
    assert theirs.text.replace(id_, str(NOBODY)) == nobodys.text
    world.limiter.down = True
    assert (await ann.delete(f"{KEYS}/{id_}")).status_code == 503
    first, before = world.clock.now(), world.limiter.announced
    [key] = world.database.keys
    assert key.good(first)
    world.limiter.down = False
    for _ in range(2):
        assert (await ann.delete(f"{KEYS}/{id_}")).status_code == 204
        world.clock.advance(1)
    assert world.limiter.announced == before + 2
    # The time of the first revocation is kept.
    [key] = world.database.keys
    assert key.revoked_at == first
