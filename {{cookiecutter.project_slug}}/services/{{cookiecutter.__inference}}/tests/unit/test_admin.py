"""What administrators do: each route of each kind, and each status that it can end in."""

import json
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import httpx2
import pytest

from gateway import accounts

from .. import samples
from ..samples import SAMPLES, Sample
from .conftest import ADMIN_TOKEN, SECRET, World, refusal

NOBODY = str(UUID(int=7))
JSON = {"Content-Type": "application/json"}
CONFIG = {
    "models": {"small": {"provider": "echo", "model": "tiny"}},
    "prices": {"tiny": 30},
    "requests_per_minute": 5,
    "tokens_per_minute": 500,
    "max_tokens": 50,
}


def nested(depth: int) -> dict[str, Any]:
    return {"a": nested(depth - 1)} if depth else {}


@dataclass(frozen=True)
class Case:
    """One kind: what is sent, and what is wrong."""

    sample: Sample
    body: dict[str, Any]
    """What creates one, but for its owner."""
    patch: dict[str, Any]
    wrong: dict[str, list[Any]]
    """Values that are not good, by the names of their fields."""
    owner: str = "team_id"

    def __str__(self) -> str:
        return self.sample.kind

    @property
    def path(self) -> str:
        """Return where they are."""
        return f"/admin/{self}"


NO_OWNERS = [NOBODY, "x"]
TEAM = Case(
    SAMPLES["teams"],
    {"name": "blue", "budget_cents": 100},
    {"budget_cents": 200},
    {"name": ["", "a\0b", 201 * "x", None], "budget_cents": [-1, 2**31, "1", 1.5, True, None]},
    owner="",
)
USER = Case(
    SAMPLES["users"],
    {"email": "ann@example.org"},
    {"role": "admin"},
    {"email": ["ann", None], "role": ["owner"], "password": ["secret"], "team_id": NO_OWNERS},
)
KEY = Case(
    SAMPLES["keys"],
    {"name": "laptop"},
    {"name": None, "expires_at": "2030-01-31T12:00:00Z"},
    {"name": [""], "expires_at": ["tomorrow", 7], "user_id": NO_OWNERS},
    owner="user_id",
)
ALIAS = Case(
    SAMPLES["aliases"],
    {"alias": "small", "target": "tiny", "provider": "echo", "tags": ["b", "a"]},
    {"target": "large", "parameters": {"temperature": 0.5}},
    {
        "alias": ["", "-a", "a b", "a\n", "é", "x" * 101, None],
        "target": ["", None],
        "provider": ["nobody", "\0", None],
        "tags": [["a"] * 21, None],
        "parameters": [{"a": "\0"}, *map(nested, (20, 300))],
        "team_id": NO_OWNERS,
    },
)
QUOTA = Case(
    SAMPLES["quotas"],
    {"requests_per_minute": 5, "tokens_per_minute": 500},
    {"tokens_per_minute": 600},
    {"requests_per_minute": [-1], "tokens_per_minute": [2**31, "5"], "team_id": NO_OWNERS},
)
CASES = [TEAM, USER, KEY, ALIAS, QUOTA]
STRANGE = {name: ["x"] for name in ("id", "created_at", "hash", "password_hash", "x/y")}

each_kind = pytest.mark.parametrize("case", CASES, ids=str)


@dataclass
class Admin:
    """An administrator."""

    client: httpx2.AsyncClient
    world: World

    async def post(self, case: Case, **other: Any) -> httpx2.Response:
        """Ask for one, which belongs to an owner of its own unless `other` says whose it is."""
        user = await samples.user(self.world.database)
        owners = {"team_id": str(user.team_id), "user_id": str(user.id)}
        owner = {case.owner: owners[case.owner]} if case.owner else {}
        return await self.client.post(case.path, json=case.body | owner | other)

    async def add(self, case: Case, **given: Any) -> str:
        """Store one; return its path."""
        [added] = await case.sample.add(self.world.database, "lamp", **given)
        return f"{case.path}/{added.id}"

    async def walk(self, path: str, **params: Any) -> list[str]:
        """Return the ids of a list, page by page."""
        page = (await self.client.get(path, params=params or None)).json()
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
async def test_one_is_created_changed_deleted_and_all_are_told(admin: Admin, case: Case) -> None:
    told = [admin.world.announcements.count]
    response = await admin.post(case)
    created = response.json()
    place = f"{case.path}/{created['id']}"
    assert (response.status_code, response.headers["location"]) == (201, place)
    told.append(admin.world.announcements.count)

    found = await admin.client.get(place)
    before = found.json()
    assert found.status_code == 200
    assert before == {name: created[name] for name in created if name != "key"}
    assert "hash" not in response.text + found.text
    assert (await admin.client.patch(place, json={})).json() == before

    changed = await admin.client.patch(place, json=case.patch)
    after = changed.json()
    moved = {name: after[name] for name in ("updated_at", "version") if name in after}
    assert (changed.status_code, after) == (200, {**before, **case.patch, **moved})
    assert after["updated_at"] != before["updated_at"]
    assert (await admin.client.get(place)).json() == after
    told.append(admin.world.announcements.count)

    deleted = await admin.client.delete(place)
    assert (deleted.status_code, deleted.content) == (204, b"")
    assert (await admin.client.get(place)).status_code == 404
    told.append(admin.world.announcements.count)
    assert sorted(set(told)) == told


@each_kind
async def test_a_list_is_of_all_or_a_team_or_what_is_searched(admin: Admin, case: Case) -> None:
    empty = await admin.client.get(case.path)
    assert (empty.status_code, empty.json()) == (200, {"data": [], "next": None})
    added = await case.sample.add(admin.world.database, "a", "b-1", "c", "d", "e")
    ids = [str(each.id) for each in added]
    assert await admin.walk(case.path, limit=2) == ids[::-1]
    team = added[1].id if case is TEAM else added[1].team_id
    assert await admin.walk(case.path, team=team) == [ids[1]]
    assert await admin.walk(case.path, team=NOBODY) == []
    found = [ids[1]] if case.sample.known_by else []
    assert await admin.walk(case.path, search=" B- ", limit=1) == found
    assert await admin.walk(case.path, search="nothing like it") == []


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=201", "limit=x", "cursor=", "cursor=x", "search=%00", "x=1", "team=x"],
)
async def test_a_list_answers_400_to_a_bad_parameter(admin: Admin, query: str) -> None:
    assert param(await admin.client.get(f"/admin/teams?{query}")) == query.partition("=")[0]


@each_kind
async def test_a_field_that_is_not_good_or_not_there_answers_400(admin: Admin, case: Case) -> None:
    place = await admin.add(case)
    for field, values in (case.wrong | STRANGE).items():
        for body in ({field: value} for value in values):
            assert param(await admin.post(case, **body)) == field
            assert param(await admin.client.patch(place, json=body)) == field


@pytest.mark.parametrize("case", [TEAM, USER, ALIAS, QUOTA], ids=str)
async def test_two_that_are_alike_answer_409(admin: Admin, case: Case) -> None:
    first = (await admin.post(case)).json()
    same = {name: first[name] for name in {case.sample.unique, case.owner} & first.keys()}
    assert refusal(await admin.post(case, **same)) == (409, case.sample.unique, "conflict")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *((method, f"{case.path}/%s") for case in CASES for method in ("GET", "PATCH", "DELETE")),
        ("POST", "/admin/keys/%s/revoke"),
        ("GET", "/admin/aliases/%s/versions"),
    ],
)
async def test_unknown_ids_answer_404_and_bad_ids_400(admin: Admin, method: str, path: str) -> None:
    body: Any = {} if method == "PATCH" else None
    bad = dict.fromkeys(("7", "%00", "%F0%9F%92%A9", "0" * 40), (400, "invalid_value"))
    for id_, expected in {NOBODY: (404, "not_found"), **bad}.items():
        response = await admin.client.request(method, path.replace("%s", id_), json=body)
        assert refusal(response)[::2] == expected


@each_kind
async def test_what_fails_is_not_announced_and_what_nobody_can_be_told_is_not_stored(
    admin: Admin, case: Case
) -> None:
    place = await admin.add(case)
    before = (await admin.client.get(place)).json()
    told = admin.world.announcements.count
    await admin.post(case, id="x")
    await admin.client.patch(f"{case.path}/{NOBODY}", json={})
    await admin.client.delete(f"{case.path}/{NOBODY}")
    assert admin.world.announcements.count == told
    admin.world.announcements.down = True
    assert (await admin.post(case)).status_code == 503
    assert (await admin.client.patch(place, json=case.patch)).status_code == 503
    assert (await admin.client.delete(place)).status_code == 503
    assert (await admin.client.get(place)).json() == before


async def test_a_team_shows_what_it_has_spent_in_cents(admin: Admin, world: World) -> None:
    team = await samples.team(world.database)
    await world.database.spending.reserve(UUID(int=7), team.id, 2_500_000, ttl=9)
    shown = (await admin.client.get(f"/admin/teams/{team.id}")).json()
    assert (shown["budget_cents"], shown["spent_cents"]) == (100, 2.5)


async def test_who_is_locked_out_can_no_longer_log_in(admin: Admin, world: World) -> None:
    password = "correct horse battery"  # pragma: allowlist secret
    user = (await admin.post(USER, password=password)).json()
    body = {"email": user["email"], "password": password}
    assert (await admin.client.post("/auth/login", json=body)).status_code == 200
    kept = (await world.database.users.get(UUID(user["id"]))).password_hash
    assert password not in (kept or "")
    await admin.client.patch(f"/admin/users/{user['id']}", json={"password": None})
    assert (await admin.client.post("/auth/login", json=body)).status_code == 401


async def test_a_key_is_shown_once_and_in_the_team_of_its_user(admin: Admin, world: World) -> None:
    response = await admin.post(KEY)
    created = response.json()
    assert response.headers["cache-control"] == "no-store"
    kept = await world.database.keys.get(UUID(created["id"]))
    assert kept.hash == accounts.Keys(SECRET).hash(created["key"])
    assert kept.team_id == (await world.database.users.get(kept.user_id)).team_id
    assert param(await admin.post(KEY, expires_at="2001-01-01T00:00:00Z")) == "expires_at"


async def test_a_key_is_revoked_once_and_everybody_is_told(admin: Admin, world: World) -> None:
    place = f"{await admin.add(KEY)}/revoke"
    first, again = [await admin.client.post(place) for _ in range(2)]
    assert (first.status_code, again.status_code) == (200, 200)
    assert first.json()["revoked_at"] == again.json()["revoked_at"] is not None
    assert world.announcements.count == 2
    assert "hash" not in first.text


async def test_an_alias_keeps_its_versions_and_a_changed_one_answers_409(admin: Admin) -> None:
    place = await admin.add(ALIAS, target="first")
    second, third, late = [
        await admin.client.patch(place, json={"target": target, **seen})
        for target, seen in (("second", {"version": 1}), ("third", {}), ("late", {"version": 2}))
    ]
    assert (second.status_code, third.status_code) == (200, 200)
    assert refusal(late) == (409, None, "version_conflict")
    response = await admin.client.get(f"{place}/versions")
    assert response.status_code == 200
    versions = [(each["version"], each["target"]) for each in response.json()]
    assert versions == [(3, "third"), (2, "second"), (1, "first")]


async def test_the_config_is_replaced_and_the_pages_example_changes_nothing(admin: Admin) -> None:
    before = (await admin.client.get("/admin/config")).json()
    assert before["version"] == 0
    page = (await admin.client.get("/openapi.json")).json()
    example = page["components"]["schemas"]["ConfigBody"]["examples"][0]
    for version, (config, after) in enumerate([(example, before), (CONFIG, CONFIG)], start=1):
        admin.world.database.unreadable = True
        assert (await admin.client.get("/admin/config")).status_code == 503
        response = await admin.client.put("/admin/config", json=config)
        assert (response.status_code, response.json()) == (200, {**after, "version": version})
        assert (await admin.client.get("/admin/config")).json() == response.json()


@pytest.mark.parametrize(
    ("where", "wrong"),
    [
        ("models", {"models": {"a b": {"provider": "echo", "model": "x"}}}),
        ("models", {"models": {"a": {"provider": "echo", "model": ""}}}),
        ("provider", {"models": {"a": {"provider": "nobody", "model": "tiny"}}}),
        ("prices", {"models": {"a": {"provider": "echo", "model": "unpriced"}}}),
        ("prices", {"prices": {"tiny": -1}}),
        ("prices", {"prices": {"\ud800": 1}}),
        ("requests_per_minute", {"requests_per_minute": None}),
        ("max_tokens", {"max_tokens": 0}),
        ("version", {"version": 7}),
    ],
)
async def test_a_config_that_is_no_good_answers_400(admin: Admin, where: str, wrong: Any) -> None:
    # Not as `json`: httpx2 refuses halves of surrogate pairs, which others may send.
    content = json.dumps({**CONFIG, **wrong})
    response = await admin.client.put("/admin/config", content=content, headers=JSON)
    assert param(response) == where
