"""Journeys that end badly, and what those who go them are told."""

import httpx2
import pytest

from stratakit.testing import eventually

from ..people import CHAT, Connect, Team, chat, configured, created

WRONG = "sk-wrong"


async def code(response: httpx2.Response, status: int) -> str:
    """Return the code of an error that was answered with this status."""
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert error["message"]
    return str(error["code"])


@pytest.mark.parametrize("credential", [None, WRONG, "not even a key"])
async def test_nobody_gets_in_without_a_key(connect: Connect, credential: str | None) -> None:
    response = await connect(credential).post(CHAT, json=chat())
    assert await code(response, 401) == "invalid_api_key"
    assert response.headers["www-authenticate"].startswith("Bearer")


async def test_a_key_opens_neither_the_administration_nor_the_account(
    client: httpx2.AsyncClient,
) -> None:
    assert (await client.get("/admin/teams")).status_code == 401
    assert (await client.get("/auth/me")).status_code == 401


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/admin/keys/{0.key_id}/revoke", None),
        ("PATCH", "/admin/keys/{0.key_id}", {"expires_at": "2020-01-01T00:00:00Z"}),
        ("DELETE", "/admin/teams/{0.id}", None),
    ],
    ids=["revoked", "expired", "of a team that is gone"],
)
async def test_a_key_that_is_no_longer_good_is_refused_at_once(
    admin: httpx2.AsyncClient,
    client: httpx2.AsyncClient,
    team: Team,
    method: str,
    path: str,
    body: dict[str, str] | None,
) -> None:
    assert (await client.post(CHAT, json=chat())).status_code == 200
    assert (await admin.request(method, path.format(team), json=body)).is_success
    assert await code(await client.post(CHAT, json=chat()), 401) == "invalid_api_key"


async def test_an_alias_of_another_team_is_no_model(
    admin: httpx2.AsyncClient, client: httpx2.AsyncClient
) -> None:
    other = await Team.make(admin)
    await created(admin, "aliases", team_id=other.id, alias="mine", target="x", provider="echo")
    assert await code(await client.post(CHAT, json=chat(model="mine")), 404) == "model_not_found"


async def test_a_team_without_money_gets_no_answer_that_costs(
    admin: httpx2.AsyncClient, client: httpx2.AsyncClient, team: Team
) -> None:
    await created(admin, "aliases", team_id=team.id, alias="x", target="dear", provider="echo")

    async def refused() -> httpx2.Response | None:
        response = await client.post(CHAT, json=chat(model="x"))
        # As long as the price is not known.
        return None if response.status_code == 200 else response

    async with configured(admin, prices={"dear": 1}):
        response = await eventually(refused)
        assert response
        assert await code(response, 429) == "insufficient_quota"


async def test_a_quota_of_nothing_lets_nothing_through(
    admin: httpx2.AsyncClient, client: httpx2.AsyncClient, team: Team
) -> None:
    await created(admin, "quotas", team_id=team.id, requests_per_minute=0, tokens_per_minute=0)
    response = await client.post(CHAT, json=chat())
    # No waiting helps, and no client is told to.
    assert await code(response, 400) == "request_too_large"


async def test_a_wrong_password_and_an_unknown_email_are_told_apart_by_nobody(
    anybody: httpx2.AsyncClient,
) -> None:
    ann = {"team": "Ann's", "email": "ann@example.org", "password": "correct horse battery"}
    assert (await anybody.post("/auth/register", json=ann)).status_code == 201
    answers = [
        await anybody.post("/auth/login", json={"email": email, "password": ann["team"] * 3})
        for email in ("ann@example.org", "nobody@example.org")
    ]
    assert [answer.status_code for answer in answers] == [401, 401]
    assert answers[0].json() == answers[1].json()


async def test_a_team_or_an_email_is_registered_once(anybody: httpx2.AsyncClient) -> None:
    ann = {"team": "Ann's", "email": "ann@example.org", "password": "correct horse battery"}
    assert (await anybody.post("/auth/register", json=ann)).status_code == 201
    for changed in ({"email": "bob@example.org"}, {"team": "Bob's"}):
        assert (await anybody.post("/auth/register", json=ann | changed)).status_code == 409
