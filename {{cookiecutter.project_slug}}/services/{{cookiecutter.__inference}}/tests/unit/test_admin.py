"""What administrators do: each route of each kind, and each status that it can end in."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest
from fastapi import FastAPI

from servicebase.pagination import SIZE

from gateway import accounts, domain
from gateway.app import create_app

from .conftest import ADMIN_TOKEN, HASHER, OPTIONS, SECRET, World

NOBODY = str(UUID(int=7))
CONFIG = {
    "models": {"small": {"provider": "echo", "model": "tiny"}},
    "prices": {"tiny": 30},
    "requests_per_minute": 5,
    "tokens_per_minute": 500,
    "max_tokens": 50,
}


@dataclass
class Case:
    """One kind: what is sent, and what is wrong."""

    path: str
    body: Callable[[int], dict[str, Any]]
    """Returns the body that creates the n-th."""
    patch: dict[str, Any]
    wrong: list[dict[str, Any]]
    """Each has one field that is not good."""
    unique: tuple[str, str] | None = None
    """The field that no two may share, and what the error calls it."""
    owner: str = "team_id"
    search: str = ""
    """Finds the second, and no other of the first five."""

    def __str__(self) -> str:
        return self.path


TEAM = Case(
    "/admin/teams",
    lambda n: {"name": f"{n} team", "budget_cents": 100},
    {"budget_cents": 200},
    [
        *({"name": each} for each in ("", "a\0b", 201 * "x", None)),
        *({"budget_cents": each} for each in (-1, 2**31, "1", 1.5, True, None)),
    ],
    unique=("name", "name"),
    owner="",
    search="1 TEAM",
)
USER = Case(
    "/admin/users",
    lambda n: {"email": f"{n}@example.org"},
    {"role": "admin"},
    [
        {"email": "ann"},
        {"email": None},
        {"role": "owner"},
        {"password": "secret"},
    ],
    unique=("email", "email"),
    search="1@EX",
)
KEY = Case(
    "/admin/keys",
    lambda n: {"name": f"{n} key"},
    {"name": None, "expires_at": "2030-01-31T12:00:00Z"},
    [{"name": ""}, {"expires_at": "tomorrow"}, {"expires_at": 7}],
    owner="user_id",
    search="1 KEY",
)
ALIAS = Case(
    "/admin/aliases",
    lambda n: {"alias": f"{n}-model", "target": "tiny", "provider": "echo", "tags": ["b", "a"]},
    {"target": "large", "parameters": {"temperature": 0.5}},
    [
        *({"alias": each} for each in ("", "a b", None)),
        *({"target": each} for each in ("", None)),
        *({"provider": each} for each in ("nobody", "\0", None)),
        *({"tags": each} for each in (["a"] * 21, None)),
        {"parameters": {"a": "\0"}},
    ],
    unique=("alias", "alias"),
    search="1-MODEL",
)
QUOTA = Case(
    "/admin/quotas",
    lambda _: {"requests_per_minute": 5, "tokens_per_minute": 500},
    {"tokens_per_minute": 600},
    [{"requests_per_minute": -1}, {"tokens_per_minute": 2**31}, {"tokens_per_minute": "5"}],
    unique=("team_id", "team_id"),
)
CASES = [TEAM, USER, KEY, ALIAS, QUOTA]
NAMED = [TEAM, USER, KEY, ALIAS]

each_kind = pytest.mark.parametrize("case", CASES, ids=str)
each_named_kind = pytest.mark.parametrize("case", NAMED, ids=str)
each_wrong_field = pytest.mark.parametrize(
    ("case", "wrong"), [(case, wrong) for case in CASES for wrong in case.wrong], ids=str
)
each_route = pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        *(("POST", case.path, {**case.body(0), case.owner or "name": NOBODY}) for case in CASES),
        *(("GET", case.path, None) for case in CASES),
        *(("GET", f"{case.path}/{NOBODY}", None) for case in CASES),
        *(("PATCH", f"{case.path}/{NOBODY}", case.patch) for case in CASES),
        *(("DELETE", f"{case.path}/{NOBODY}", None) for case in CASES),
        ("POST", f"/admin/keys/{NOBODY}/revoke", None),
        ("GET", f"/admin/aliases/{NOBODY}/versions", None),
        ("GET", "/admin/config", None),
        ("PUT", "/admin/config", CONFIG),
    ],
)
each_route_of_one = pytest.mark.parametrize(
    ("method", "path"),
    [
        *((method, f"{case.path}/%s") for case in CASES for method in ("GET", "PATCH", "DELETE")),
        ("POST", "/admin/keys/%s/revoke"),
        ("GET", "/admin/aliases/%s/versions"),
    ],
)


class Admin:
    """An administrator."""

    def __init__(self, client: httpx2.AsyncClient, world: World) -> None:
        client.headers["Authorization"] = f"Bearer {ADMIN_TOKEN}"
        self.client = client
        self.world = world

    async def owner(self, case: Case) -> dict[str, Any]:
        """Return the field that says whose one of this kind is."""
        if not case.owner:
            return {}
        team = await self.world.team(f"owner {uuid4()}")
        if case is not KEY:
            return {"team_id": str(team.id)}
        new = domain.NewUser(team_id=team.id, email=f"{team.id}@example.org")
        return {"user_id": str((await self.world.database.users.create(new)).id)}

    async def create(self, case: Case, number: int = 0, **other: Any) -> dict[str, Any]:
        """Create one."""
        response = await self.post(case, number, **other)
        assert response.status_code == 201, response.text
        created: dict[str, Any] = response.json()
        return created

    async def post(self, case: Case, number: int = 0, **other: Any) -> httpx2.Response:
        """Ask for one, which belongs to an owner of its own unless `other` says whose it is."""
        owner = {} if case.owner in other else await self.owner(case)
        return await self.client.post(case.path, json={**case.body(number), **owner, **other})

    async def walk(self, path: str, **params: Any) -> list[str]:
        """Return the ids of a list, page by page."""
        response = await self.client.get(path, params=params)
        ids = []
        while True:
            page = response.json()
            ids += [each["id"] for each in page["data"]]
            if page["next"] is None:
                return ids
            response = await self.client.get(page["next"])


def param(response: httpx2.Response) -> str:
    assert response.status_code == 400
    found: str = response.json()["error"]["param"]
    return found


@pytest.fixture(scope="module")
def _shared() -> FastAPI:
    return create_app(World().ports, OPTIONS, hasher=HASHER)


@pytest.fixture
def app(_shared: FastAPI, world: World) -> FastAPI:
    """One for all tests of this file: its first request costs 80 ms, in which routes are made."""
    _shared.state.ports = world.ports
    return _shared


@pytest.fixture
def admin(client: httpx2.AsyncClient, world: World) -> Admin:
    return Admin(client, world)


@each_kind
async def test_one_is_created_found_changed_and_deleted_and_everybody_is_told(
    admin: Admin, case: Case
) -> None:
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


async def test_with_a_team_all_goes_that_belongs_to_it(admin: Admin) -> None:
    team = await admin.create(TEAM)
    user = await admin.create(USER, team_id=team["id"])
    places = [f"/admin/users/{user['id']}"]
    places += [
        f"{case.path}/{(await admin.create(case, **owner))['id']}"
        for case, owner in (
            (KEY, {"user_id": user["id"]}),
            (ALIAS, {"team_id": team["id"]}),
            (QUOTA, {"team_id": team["id"]}),
        )
    ]
    assert (await admin.client.delete(f"/admin/teams/{team['id']}")).status_code == 204
    assert {(await admin.client.get(place)).status_code for place in places} == {404}


@each_kind
async def test_a_list_leads_from_page_to_page_the_newest_first_of_all_or_of_one_team(
    admin: Admin, case: Case
) -> None:
    empty = await admin.client.get(case.path)
    assert (empty.status_code, empty.json()) == (200, {"data": [], "next": None})
    created = [await admin.create(case, number) for number in range(5)]
    ids = [each["id"] for each in created]
    listed = await admin.walk(case.path, limit=2)
    assert [id_ for id_ in listed if id_ in ids] == ids[::-1]
    team = created[1].get("team_id", created[1]["id"])
    assert await admin.walk(case.path, team=team) == [ids[1]]
    assert await admin.walk(case.path, team=NOBODY) == []


async def test_a_list_is_limited_without_being_asked(admin: Admin, world: World) -> None:
    for number in range(SIZE + 1):
        await world.team(str(number))
    assert len((await admin.client.get("/admin/teams")).json()["data"]) == SIZE


@each_named_kind
async def test_a_search_finds_what_people_know_one_by(admin: Admin, case: Case) -> None:
    created = [(await admin.create(case, number))["id"] for number in range(3)]
    assert await admin.walk(case.path, search=f" {case.search} ", limit=1) == [created[1]]
    assert await admin.walk(case.path, search="nothing like it") == []


@each_kind
@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=201", "limit=x", "cursor=", "cursor=x", "search=%00", "x=1", "team=x"],
)
async def test_a_list_answers_400_to_a_bad_parameter(admin: Admin, case: Case, query: str) -> None:
    response = await admin.client.get(f"{case.path}?{query}")
    assert param(response) == query.partition("=")[0]


@each_wrong_field
async def test_a_field_that_is_not_good_answers_400_and_is_named(
    admin: Admin, case: Case, wrong: dict[str, Any]
) -> None:
    place = f"{case.path}/{(await admin.create(case))['id']}"
    for response in (
        await admin.post(case, 1, **wrong),
        await admin.client.patch(place, json=wrong),
    ):
        assert param(response).split(".")[0] == next(iter(wrong))


@each_kind
@pytest.mark.parametrize("field", ["id", "created_at", "hash", "password_hash", "x/y"])
async def test_a_field_that_there_is_not_answers_400(admin: Admin, case: Case, field: str) -> None:
    place = f"{case.path}/{(await admin.create(case))['id']}"
    assert param(await admin.post(case, 1, **{field: "x"})) == field
    assert param(await admin.client.patch(place, json={field: "x"})) == field


@pytest.mark.parametrize("case", [USER, KEY, ALIAS, QUOTA], ids=str)
async def test_what_would_belong_to_nobody_answers_400(admin: Admin, case: Case) -> None:
    for owner in (NOBODY, "x"):
        assert param(await admin.post(case, 0, **{case.owner: owner})) == case.owner


@pytest.mark.parametrize("case", [TEAM, USER, ALIAS, QUOTA], ids=str)
async def test_two_that_are_alike_answer_409(admin: Admin, case: Case) -> None:
    assert case.unique
    field, called = case.unique
    first = await admin.create(case)
    owner = {"team_id": first["team_id"]} if case is ALIAS else {}
    same = {field: first[field]}
    responses = [await admin.post(case, 1, **owner, **same)]
    if case is not QUOTA:
        second = await admin.create(case, 1, **owner)
        responses.append(await admin.client.patch(f"{case.path}/{second['id']}", json=same))
    for response in responses:
        assert response.status_code == 409
        assert response.json()["error"]["param"] == called


@each_route_of_one
async def test_what_does_not_exist_answers_404_and_what_is_no_id_400(
    admin: Admin, method: str, path: str
) -> None:
    body: Any = {} if method == "PATCH" else None
    refused = [("not_found", NOBODY)]
    refused += [("invalid_value", id_) for id_ in ("7", "%00", "%F0%9F%92%A9", "0" * 40)]
    for code, id_ in refused:
        response = await admin.client.request(method, path.replace("%s", id_), json=body)
        assert response.status_code == (404 if id_ == NOBODY else 400)
        assert response.json()["error"]["code"] == code


@each_route
async def test_every_route_answers_401_without_the_credential(
    client: httpx2.AsyncClient, method: str, path: str, body: object
) -> None:
    for authorization in ("", "Bearer x", f"Basic {ADMIN_TOKEN}", f"Bearer {ADMIN_TOKEN}x", "é"):
        headers = {b"Authorization": authorization.encode()}
        response = await client.request(method, path, json=body, headers=headers)
        assert response.status_code == 401
        assert response.headers["www-authenticate"] == "Bearer"
        assert response.json()["error"]["code"] == "invalid_api_key"


@each_route
async def test_every_route_answers_503_without_its_servers(
    admin: Admin, method: str, path: str, body: object
) -> None:
    admin.world.database.down = admin.world.announcements.down = True
    response = await admin.client.request(method, path, json=body)
    assert response.status_code == 503
    assert response.headers["retry-after"] == "1"


@each_kind
async def test_what_fails_is_not_announced_and_what_nobody_can_be_told_is_not_stored(
    admin: Admin, case: Case
) -> None:
    place = f"{case.path}/{(await admin.create(case))['id']}"
    before = (await admin.client.get(place)).json()
    told = admin.world.announcements.count
    await admin.post(case, id="x")
    await admin.client.patch(f"{case.path}/{NOBODY}", json={})
    await admin.client.delete(f"{case.path}/{NOBODY}")
    assert admin.world.announcements.count == told
    admin.world.announcements.down = True
    assert (await admin.post(case, 1)).status_code == 503
    assert (await admin.client.patch(place, json=case.patch)).status_code == 503
    assert (await admin.client.delete(place)).status_code == 503
    assert (await admin.client.get(place)).json() == before


async def test_a_team_shows_what_it_has_spent_in_cents(admin: Admin, world: World) -> None:
    team = await world.team(budget_cents=100)
    await world.database.spending.reserve(UUID(int=7), team.id, 2_500_000, ttl=9)
    shown = (await admin.client.get(f"/admin/teams/{team.id}")).json()
    assert (shown["budget_cents"], shown["spent_cents"]) == (100, 2.5)


async def test_who_is_locked_out_keeps_neither_password_nor_session_nor_key(
    admin: Admin, world: World
) -> None:
    password = "correct horse battery"  # pragma: allowlist secret
    user = await admin.create(USER, password=password)
    body = {"email": user["email"], "password": password}
    token = (await admin.client.post("/auth/login", json=body)).json()["token"]
    assert password not in str(await world.database.users.get(UUID(user["id"])))
    headers = {"Authorization": f"Bearer {token}"}
    key = (await admin.client.post("/auth/keys", json={}, headers=headers)).json()

    told = world.announcements.count
    await admin.client.patch(f"/admin/users/{user['id']}", json={"password": None})
    assert (await admin.client.post("/auth/login", json=body)).status_code == 401
    for path in ("/auth/keys", "/auth/logout"):
        response = await admin.client.post(path, json={}, headers=headers)
        assert response.status_code == 401
    assert not (await world.database.keys.get(UUID(key["id"]))).good(world.clock.now())
    assert world.announcements.count == told + 1


async def test_a_key_is_shown_once_and_belongs_to_the_team_of_its_user(
    admin: Admin, world: World
) -> None:
    response = await admin.post(KEY)
    created = response.json()
    assert response.headers["cache-control"] == "no-store"
    kept = await world.database.keys.get(UUID(created["id"]))
    assert kept.hash == accounts.Keys(SECRET).hash(created["key"])
    user = await world.database.users.get(UUID(created["user_id"]))
    assert created["team_id"] == str(user.team_id)


async def test_a_key_that_has_expired_is_not_created(admin: Admin) -> None:
    assert param(await admin.post(KEY, expires_at="2001-01-01T00:00:00Z")) == "expires_at"


async def test_a_key_is_revoked_with_200_once_and_everybody_is_told(
    admin: Admin, world: World
) -> None:
    created = await admin.create(KEY)
    first, again = [
        await admin.client.post(f"/admin/keys/{created['id']}/revoke") for _ in range(2)
    ]
    assert (first.status_code, again.status_code) == (200, 200)
    assert first.json()["revoked_at"] == again.json()["revoked_at"] is not None
    assert world.announcements.count == 3
    assert "hash" not in first.text


async def test_an_alias_keeps_its_versions(admin: Admin) -> None:
    place = f"/admin/aliases/{(await admin.create(ALIAS))['id']}"
    for target in ("second", "third"):
        await admin.client.patch(place, json={"target": target})
    response = await admin.client.get(f"{place}/versions")
    assert response.status_code == 200
    assert [(each["version"], each["target"]) for each in response.json()] == [
        (3, "third"),
        (2, "second"),
        (1, "tiny"),
    ]


async def test_a_change_of_an_alias_that_has_changed_meanwhile_answers_409(admin: Admin) -> None:
    place = f"/admin/aliases/{(await admin.create(ALIAS))['id']}"
    responses = [
        await admin.client.patch(place, json={"target": target, "version": 1})
        for target in ("mine", "theirs")
    ]
    assert [response.status_code for response in responses] == [200, 409]
    assert responses[1].json()["error"]["code"] == "version_conflict"
    assert (await admin.client.get(place)).json()["target"] == "mine"


async def test_the_config_is_read_and_replaced_with_200(admin: Admin) -> None:
    before = await admin.client.get("/admin/config")
    assert (before.status_code, before.json()["version"]) == (200, 0)
    response = await admin.client.put("/admin/config", json=CONFIG)
    assert (response.status_code, response.json()) == (200, {**CONFIG, "version": 1})
    assert (await admin.client.get("/admin/config")).json() == response.json()


@pytest.mark.parametrize(
    ("wrong", "where"),
    [
        ({"models": {"a b": {"provider": "echo", "model": "x"}}}, "models"),
        ({"models": {"a": {"provider": "nobody", "model": "tiny"}}}, "provider"),
        ({"models": {"a": {"provider": "echo", "model": ""}}}, "models"),
        ({"models": {"a": {"provider": "echo", "model": "unpriced"}}}, "prices"),
        ({"prices": {"tiny": -1}}, "prices"),
        ({"prices": {"\ud800": 1}}, "prices"),
        ({"requests_per_minute": None}, "requests_per_minute"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"version": 7}, "version"),
    ],
)
async def test_a_config_that_is_no_good_answers_400(
    admin: Admin, wrong: dict[str, Any], where: str
) -> None:
    # Not as `json`: httpx2 refuses halves of surrogate pairs, which others may send.
    content = json.dumps({**CONFIG, **wrong})
    headers = {"Content-Type": "application/json"}
    response = await admin.client.put("/admin/config", content=content, headers=headers)
    assert param(response).split(".")[0] == where


async def test_who_tries_the_page_of_the_config_as_it_is_changes_nothing(admin: Admin) -> None:
    page = (await admin.client.get("/openapi.json")).json()
    example = page["components"]["schemas"]["ConfigBody"]["example"]
    before = (await admin.client.get("/admin/config")).json()
    assert (await admin.client.put("/admin/config", json=example)).json() == {
        **before,
        "version": 1,
    }


async def test_a_config_that_cannot_be_read_answers_503_until_it_is_replaced(
    admin: Admin,
) -> None:
    admin.world.database.unreadable = True
    assert (await admin.client.get("/admin/config")).status_code == 503
    assert (await admin.client.put("/admin/config", json=CONFIG)).status_code == 200
    assert (await admin.client.get("/admin/config")).status_code == 200


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"1", b"\xff", b'{"name": "\\ud800"}'])
async def test_what_is_no_good_json_answers_400(admin: Admin, content: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    response = await admin.client.post("/admin/teams", content=content, headers=headers)
    assert response.status_code == 400


async def test_parameters_that_nest_without_end_answer_400(admin: Admin) -> None:
    for depth in (20, 300, 9_000):
        content = b'{"parameters": ' + b'{"a": ' * depth + b"1" + b"}" * depth + b"}"
        headers = {"Content-Type": "application/json"}
        response = await admin.client.post("/admin/aliases", content=content, headers=headers)
        assert response.status_code == 400
