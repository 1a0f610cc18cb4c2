"""Routes of administrators: each route of each resource, and each status of its responses."""

import json
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import httpx2
import pytest

from gateway import accounts

from .. import samples
from ..samples import SAMPLES
from .conftest import ADMIN_TOKEN, SECRET, World, refusal

Object = dict[str, Any]
NOBODY = str(UUID(int=7))
JSON = {"Content-Type": "application/json"}
CONFIG = {
    "models": {"small": {"provider": "echo", "model": "tiny"}},
    "prices": {"tiny": 30},
    "requests_per_minute": 5,
    "tokens_per_minute": 500,
    "max_tokens": 50,
}


def nested(depth: int) -> Object:
    return {"a": nested(depth - 1)} if depth else {}


# Bodies that create each resource; the test creates the owner, and fills in its id.
BODIES: dict[str, Object] = {
    "teams": {"name": "blue", "budget_cents": 100},
    "users": {"team_id": "", "email": "ann@example.org"},
    "keys": {"user_id": "", "name": "laptop"},
    "aliases": {"team_id": "", "alias": "a", "target": "b", "provider": "echo", "tags": ["b", "a"]},
    "quotas": {"team_id": "", "requests_per_minute": 5, "tokens_per_minute": 500},
}
PATCHES: dict[str, Object] = {
    "teams": {"budget_cents": 200},
    "users": {"role": "admin"},
    "keys": {"name": None, "expires_at": "2030-01-31T12:00:00Z"},
    "aliases": {"target": "large", "parameters": {"temperature": 0.5}},
    "quotas": {"tokens_per_minute": 600},
}
# Invalid values by field: for all resources, and for each.
STRANGE = {name: ["x"] for name in ("id", "created_at", "hash", "password_hash", "x/y")}
WRONG: dict[str, dict[str, list[Any]]] = {
    "teams": {
        "name": ["", "a\0b", 201 * "x", None],
        "budget_cents": [-1, 2**31, "1", 1.5, True, None],
    },
    "users": {"email": ["ann", None], "role": ["owner"], "password": ["secret"]},
    "keys": {"name": [""], "expires_at": ["tomorrow", 7]},
    "aliases": {
        "alias": ["", "-a", "a b", "a\n", "é", "x" * 101, None],
        "target": ["", None],
        "provider": ["nobody", "\0", None],
        "tags": [["a"] * 21, None],
        "parameters": [{"a": "\0"}, *map(nested, (20, 300))],
    },
    "quotas": {"requests_per_minute": [-1], "tokens_per_minute": [2**31, "5"]},
}

each_kind = pytest.mark.parametrize("kind", BODIES)


@dataclass
class Admin:
    """Client of an administrator."""

    client: httpx2.AsyncClient
    world: World

    async def send(self, method: str, path: str, body: object = None) -> httpx2.Response:
        """Send a request, and check that it is announced if, and only if, it changed something."""
        before = self.world.limiter.announced
        response = await self.client.request(method, path, json=body)
        changed = response.is_success and method != "GET"
        assert self.world.limiter.announced == before + changed
        return response

    async def get(self, path: str) -> Any:
        """Return the resource, or the page, at a path."""
        return (await self.send("GET", path)).json()

    async def create(self, kind: str, **other: Any) -> httpx2.Response:
        """Create a resource, with new owners unless `other` has their ids."""
        user = await samples.user(self.world.database)
        owners = {"team_id": str(user.team_id), "user_id": str(user.id)}
        body = {name: owners.get(name, value) for name, value in BODIES[kind].items()}
        return await self.send("POST", f"/admin/{kind}", body | other)

    async def walk(self, path: str) -> list[str]:
        """Return the ids of all pages of a list."""
        page = await self.get(path)
        ids = [each["id"] for each in page["data"]]
        return ids + (await self.walk(page["next"]) if page["next"] else [])


def param(response: httpx2.Response) -> str:
    status, place, _ = refusal(response)
    assert status == 400
    return (place or "").partition(".")[0]


@pytest.fixture
def admin(client: httpx2.AsyncClient, world: World) -> Admin:
    client.headers["Authorization"] = f"Bearer {ADMIN_TOKEN}"
    return Admin(client, world)


@each_kind
async def test_resources_are_changed_only_if_it_can_be_announced(admin: Admin, kind: str) -> None:
    response = await admin.create(kind)
    created = response.json()
    place = f"/admin/{kind}/{created['id']}"
    assert (response.status_code, response.headers["location"]) == (201, place)
    before = await admin.get(place)
    assert before == {name: created[name] for name in created if name != "key"}
    assert "hash" not in response.text
    assert (await admin.send("PATCH", place, {})).json() == before

    changed = await admin.send("PATCH", place, PATCHES[kind])
    after = changed.json()
    moved = {name: after[name] for name in ("updated_at", "version") if name in after}
    assert (changed.status_code, after) == (200, {**before, **PATCHES[kind], **moved})
    assert after["updated_at"] != before["updated_at"]

    admin.world.limiter.down = True
    assert (await admin.create(kind)).status_code == 503
    assert (await admin.send("PATCH", place, PATCHES[kind])).status_code == 503
    assert (await admin.send("DELETE", place)).status_code == 503
    assert await admin.get(place) == after

    admin.world.limiter.down = False
    deleted = await admin.send("DELETE", place)
    assert (deleted.status_code, deleted.content) == (204, b"")
    assert (await admin.send("GET", place)).status_code == 404


@each_kind
async def test_a_list_is_paged_and_filtered_by_team_or_search(admin: Admin, kind: str) -> None:
    sample = SAMPLES[kind]
    assert await admin.get(f"/admin/{kind}") == {"data": [], "next": None}
    added = await sample.add(admin.world.database, "a", "b-1", "c", "d", "e")
    ids = [str(each.id) for each in added]
    team = added[1].id if kind == "teams" else added[1].team_id
    for query, found in {
        "limit=2": ids[::-1],
        f"team={team}": [ids[1]],
        f"team={NOBODY}": [],
        "search=%20B-%20&limit=1": [ids[1]] if sample.known_by else [],
        "search=nothing like it": [],
    }.items():
        assert await admin.walk(f"/admin/{kind}?{query}") == found


@pytest.mark.parametrize("query", ["limit=0", "cursor=x", "search=%00", "x=1", "team=x"])
async def test_a_list_returns_400_for_an_invalid_parameter(admin: Admin, query: str) -> None:
    assert param(await admin.send("GET", f"/admin/teams?{query}")) == query.partition("=")[0]


@each_kind
async def test_an_invalid_unknown_or_immutable_field_returns_400(admin: Admin, kind: str) -> None:
    added, other = await SAMPLES[kind].add(admin.world.database, "lamp", "desk")
    owners = {name: [NOBODY, "x"] for name in BODIES[kind] if name.endswith("_id")}
    for field, values in (WRONG[kind] | owners | STRANGE).items():
        for body in ({field: value} for value in values):
            assert param(await admin.create(kind, **body)) == field
            assert param(await admin.send("PATCH", f"/admin/{kind}/{added.id}", body)) == field
    # The owner cannot be changed, not even to one that exists.
    for field in owners:
        body = {field: str(getattr(other, field))}
        assert param(await admin.send("PATCH", f"/admin/{kind}/{added.id}", body)) == field


@pytest.mark.parametrize("kind", ["teams", "users", "aliases", "quotas"])
async def test_a_duplicate_returns_409(admin: Admin, kind: str) -> None:
    first = (await admin.create(kind)).json()
    unique = SAMPLES[kind].unique
    same = {name: first[name] for name in {unique, "team_id"} & first.keys()}
    assert refusal(await admin.create(kind, **same)) == (409, unique, "conflict")


async def test_a_team_shows_its_spending_in_cents(admin: Admin, world: World) -> None:
    team = await samples.team(world.database)
    await world.database.reserve(UUID(int=7), team.id, 2_500_000, ttl=9)
    shown = await admin.get(f"/admin/teams/{team.id}")
    assert (shown["budget_cents"], shown["spent_cents"]) == (100, 2.5)


async def test_a_locked_out_user_can_no_longer_log_in(admin: Admin, world: World) -> None:
    password = "correct horse battery"  # pragma: allowlist secret
    user = (await admin.create("users", password=password)).json()
    body = {"email": user["email"], "password": password}
    assert (await admin.client.post("/auth/login", json=body)).status_code == 200
    kept = (await world.database.users.get(UUID(user["id"]))).password_hash
    assert password not in (kept or "")
    await admin.send("PATCH", f"/admin/users/{user['id']}", {"password": None})
    assert (await admin.client.post("/auth/login", json=body)).status_code == 401


async def test_a_key_belongs_to_its_users_team_is_shown_once_and_revoked_once(admin: Admin) -> None:
    response = await admin.create("keys")
    created, database = response.json(), admin.world.database
    assert response.headers["cache-control"] == "no-store"
    kept = await database.keys.get(UUID(created["id"]))
    assert kept.hash == accounts.Keys(SECRET).hash(created["key"])
    assert kept.team_id == (await database.users.get(kept.user_id)).team_id
    revoked = await admin.send("POST", f"/admin/keys/{kept.id}/revoke")
    admin.world.clock.advance(1)
    again = await admin.send("POST", f"/admin/keys/{kept.id}/revoke")
    assert (revoked.status_code, again.status_code) == (200, 200)
    assert revoked.json()["revoked_at"] == again.json()["revoked_at"] is not None
    assert "hash" not in revoked.text


async def test_an_alias_keeps_its_versions_and_a_stale_update_returns_409(admin: Admin) -> None:
    [alias] = await SAMPLES["aliases"].add(admin.world.database, "lamp", target="first")
    place = f"/admin/aliases/{alias.id}"
    for change in ({"target": "second", "version": 1}, {"target": "third"}):
        assert (await admin.send("PATCH", place, change)).status_code == 200
    late = await admin.send("PATCH", place, {"target": "late", "version": 2})
    assert refusal(late) == (409, None, "version_conflict")
    versions = await admin.get(f"{place}/versions")
    found = [(each["version"], each["target"]) for each in versions]
    assert found == [(3, "third"), (2, "second"), (1, "first")]


async def test_the_config_is_replaced_and_the_docs_example_is_the_default(admin: Admin) -> None:
    before = await admin.get("/admin/config")
    assert before["version"] == 0
    page = await admin.get("/openapi.json")
    example = page["components"]["schemas"]["ConfigBody"]["examples"][0]
    for version, (config, after) in enumerate([(example, before), (CONFIG, CONFIG)], start=1):
        admin.world.database.unreadable = True
        unreadable = await admin.send("GET", "/admin/config")
        assert refusal(unreadable) == (503, None, "unreadable")
        response = await admin.send("PUT", "/admin/config", config)
        assert (response.status_code, response.json()) == (200, {**after, "version": version})
        assert await admin.get("/admin/config") == response.json()


@pytest.mark.parametrize(
    ("where", "wrong"),
    [
        ("models", {"models": {"a b": {"provider": "echo", "model": "x"}}}),
        ("prices", {"models": {"a": {"provider": "echo", "model": ""}}}),
        ("provider", {"models": {"a": {"provider": "nobody", "model": "tiny"}}}),
        ("prices", {"models": {"a": {"provider": "echo", "model": "unpriced"}}}),
        ("prices", {"prices": {"tiny": -1}}),
        ("prices", {"prices": {"\ud800": 1}}),
        ("requests_per_minute", {"requests_per_minute": None}),
        ("max_tokens", {"max_tokens": 0}),
        ("version", {"version": 7}),
    ],
)
async def test_an_invalid_config_returns_400(admin: Admin, where: str, wrong: Any) -> None:
    # Not with `json`: httpx2 refuses lone surrogates, which other clients may send.
    content = json.dumps({**CONFIG, **wrong})
    response = await admin.client.put("/admin/config", content=content, headers=JSON)
    assert param(response) == where
