"""The whole way of those who use the gateway, as they go it."""

from typing import Any

import openai
import pytest
from httpx2 import AsyncClient

from stratakit.testing import Service, eventually

from ..people import CHAT, Connect, Team, another, asking, chat, configured, created

ANN = {"email": "ann@example.org", "password": "correct horse battery staple"}


async def test_from_registration_to_an_answer_and_out_again(
    anybody: AsyncClient, admin: AsyncClient, connect: Connect, service: Service
) -> None:
    assert (await anybody.post("/auth/register", json={"team": "Blue", **ANN})).status_code == 201
    ann = connect((await anybody.post("/auth/login", json=ANN)).json()["token"])
    me = (await ann.get("/auth/me")).json()
    assert (me["user"]["email"], me["team"]["name"]) == (ANN["email"], "Blue")

    issued = (await ann.post("/auth/keys", json={"name": "laptop"})).json()
    [listed] = (await ann.get("/auth/keys")).json()["data"]
    assert listed["id"] == issued["id"]
    assert issued["key"].startswith(listed["prefix"])
    assert "key" not in listed

    team = {"team_id": me["team"]["id"]}
    await created(admin, "aliases", **team, alias="fast", target="echo", provider="echo")
    await created(admin, "quotas", **team, requests_per_minute=1, tokens_per_minute=1000)

    async with openai.AsyncOpenAI(
        base_url=f"{service.url}/v1", api_key=issued["key"], max_retries=0
    ) as client:
        assert {model.id async for model in client.models.list()} == {"echo", "fast"}
        messages: Any = [{"role": "user", "content": "hello there"}]
        answer = await client.chat.completions.create(model="fast", messages=messages)
        assert answer.model == "fast"
        with pytest.raises(openai.RateLimitError) as caught:
            await client.chat.completions.create(model="fast", messages=messages)
        assert caught.value.response.headers["x-ratelimit-limit-requests"] == "1"

    assert (await ann.delete(f"/auth/keys/{issued['id']}")).status_code == 204
    assert (await connect(issued["key"]).post(CHAT, json=chat())).status_code == 401
    assert (await ann.post("/auth/logout")).status_code == 204
    assert (await ann.get("/auth/me")).status_code == 401


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/admin/keys/{0.key_id}/revoke", None),
        ("PATCH", "/admin/keys/{0.key_id}", {"expires_at": "2020-01-01T00:00:00Z"}),
        ("DELETE", "/admin/teams/{0.id}", None),
    ],
)
async def test_a_key_that_is_no_longer_good_is_refused_at_once(
    admin: AsyncClient, client: AsyncClient, team: Team, method: str, path: str, body: object
) -> None:
    assert (await client.post(CHAT, json=chat())).status_code == 200
    assert (await admin.request(method, path.format(team), json=body)).is_success
    assert (await client.post(CHAT, json=chat())).status_code == 401


async def test_a_model_in_use_is_swapped(
    admin: AsyncClient, client: AsyncClient, team: Team
) -> None:
    alias = await created(
        admin, "aliases", team_id=team.id, alias="best", target="old", provider="echo"
    )
    prices = dict.fromkeys(["old", "new", "newer", "newest"], 0)
    async with configured(admin, prices=prices), asking(client, chat(model="best")) as answers:
        for version, target in enumerate(["new", "newer", "newest"], start=2):
            await another(answers)
            changed = await admin.patch(f"/admin/aliases/{alias['id']}", json={"target": target})
            assert changed.json()["version"] == version
        await another(answers)
    assert {answer.status_code for answer in answers} == {200}
    versions = (await admin.get(f"/admin/aliases/{alias['id']}/versions")).json()
    assert [each["target"] for each in versions] == ["newest", "newer", "new", "old"]


async def test_a_new_model_is_told_to_a_process_that_has_refused_it(
    admin: AsyncClient, client: AsyncClient
) -> None:
    async def known() -> bool:
        return (await client.post(CHAT, json=chat(model="fresh"))).status_code == 200

    assert not await known()
    # What the process remembers is good for longer than is waited here.
    async with configured(admin, models={"fresh": {"provider": "echo", "model": "echo"}}):
        await eventually(known)
