"""Complete journeys of users and administrators."""

import asyncio
from typing import Any

import openai
import pytest
from httpx2 import AsyncClient

from stratakit.testing import Service, eventually

from ..people import ANN, CHAT, Connect, Team, chat, configured, created


async def test_a_user_registers_uses_a_key_revokes_it_and_logs_out(
    ann: AsyncClient, admin: AsyncClient, connect: Connect, service: Service
) -> None:
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
    url = f"{service.url}/v1"
    async with openai.AsyncOpenAI(base_url=url, api_key=issued["key"], max_retries=0) as client:
        messages: Any = [{"role": "user", "content": "hello there"}]
        chats = client.chat.completions
        answer = await chats.with_raw_response.create(model="fast", messages=messages)
        assert answer.parse().model == "fast"
        assert answer.headers["x-request-id"]
        assert answer.headers["x-ratelimit-remaining-requests"] == "0"
        assert int(answer.headers["x-ratelimit-remaining-tokens"]) > 0
        with pytest.raises(openai.RateLimitError) as caught:
            await chats.create(model="fast", messages=messages)
        assert caught.value.code == "rate_limit_exceeded"
        assert caught.value.response.headers["x-ratelimit-limit-requests"] == "1"
        assert 0 < int(caught.value.response.headers["retry-after"]) <= 60

    assert (await ann.delete(f"/auth/keys/{issued['id']}")).status_code == 204
    assert (await connect(issued["key"]).post(CHAT, json=chat())).status_code == 401
    assert (await ann.post("/auth/logout")).status_code == 204
    assert (await ann.get("/auth/me")).status_code == 401


async def test_a_new_model_is_soon_served_and_no_request_fails_while_it_is_swapped(
    admin: AsyncClient, client: AsyncClient, team: Team
) -> None:
    async def ask() -> int:
        return (await client.post(CHAT, json=chat(model="best"))).status_code

    async def is_served() -> bool:
        return await ask() == 200

    assert await ask() == 404
    model = {"alias": "best", "target": "echo", "provider": "echo"}
    alias = await created(admin, "aliases", team_id=team.id, **model)
    # Cached aliases would stay valid for longer than this waits.
    await eventually(is_served)
    path, targets = f"/admin/aliases/{alias['id']}", ["new", "newer", "newest"]
    async with configured(admin, prices=dict.fromkeys(targets, 0)):
        for target in targets:
            asking = asyncio.gather(*(ask() for _ in range(20)))
            assert (await admin.patch(path, json={"target": target})).status_code == 200
            assert {*await asking} == {200}
    versions = (await admin.get(f"{path}/versions")).json()
    assert [each["target"] for each in versions] == [*reversed(targets), "echo"]
