"""Each way in which a request for a completion can end."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from structlog.typing import EventDict

from gateway import domain, errors
from gateway.accounts import Keys
from gateway.api.middleware import BYTES
from gateway.api.schemas import completion_responses
from gateway.api.schemas.completion_requests import MESSAGES
from gateway.ports import Chunk

from .conftest import OPTIONS, SECRET, World

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
CHAT_BODY: dict[str, Any] = {"model": "mine", "messages": [{"role": "user", "content": "Hello"}]}
TEXT_BODY: dict[str, Any] = {"model": "mine", "prompt": "Hello"}
BODIES = {CHAT: CHAT_BODY, TEXT: TEXT_BODY}

pytestmark = pytest.mark.usefixtures("key", "alias")


async def post(
    client: httpx2.AsyncClient, path: str = CHAT, /, **fields: object
) -> httpx2.Response:
    return await client.post(path, json=BODIES[path] | fields)


def refusal(response: httpx2.Response) -> tuple[int, str | None, str]:
    """Return the status, the parameter and the code of an error, whose shape it checks."""
    error = response.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert error["message"]
    return response.status_code, error["param"], error["code"]


async def test_a_chat_is_answered(client: httpx2.AsyncClient) -> None:
    response = await post(client)
    answer = response.json()
    assert response.status_code == 200
    assert answer == completion_responses.ChatCompletion.model_validate(answer).model_dump()
    assert answer["model"] == "mine"
    assert answer["choices"][0]["message"]["content"] == "one two"
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert answer["usage"] == {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


async def test_a_text_is_gone_on_with(client: httpx2.AsyncClient) -> None:
    response = await post(client, TEXT)
    answer = response.json()
    assert response.status_code == 200
    assert answer == completion_responses.TextCompletion.model_validate(answer).model_dump()
    assert (answer["model"], answer["choices"][0]["text"]) == ("mine", "one two")


async def test_a_model_of_the_config_is_there_for_every_team(client: httpx2.AsyncClient) -> None:
    answer = (await post(client, TEXT, model="echo", prompt="b a")).json()
    assert sorted(answer["choices"][0]["text"].split()) == ["a", "b"]


async def test_the_backend_is_asked_for_what_the_alias_stands_for(
    client: httpx2.AsyncClient, world: World
) -> None:
    await post(client, top_p=0.5)
    [asked] = world.backend.asked
    assert (asked.model, asked.prompt) == ("real", (("user", "Hello"),))
    assert asked.parameters == {"temperature": 0.5, "max_tokens": 20, "top_p": 0.5}


async def test_what_the_request_says_goes_before_what_the_alias_says(
    client: httpx2.AsyncClient, world: World
) -> None:
    await post(client, temperature=0, max_tokens=7)
    [asked] = world.backend.asked
    assert (asked.parameters["temperature"], asked.max_tokens) == (0, 7)


@pytest.mark.parametrize(
    ("fields", "most"),
    [({}, 20), ({"max_tokens": 7.0}, 7), ({"max_completion_tokens": 8, "max_tokens": 7}, 8)],
)
async def test_a_completion_has_a_limit(
    client: httpx2.AsyncClient, world: World, fields: dict[str, object], most: int
) -> None:
    await post(client, **fields)
    assert world.backend.asked[0].max_tokens == most


@pytest.mark.parametrize("most", [0, 2**31, True, "7", None])
async def test_an_alias_without_a_good_limit_has_that_of_the_config(
    client: httpx2.AsyncClient, world: World, alias: domain.ModelAlias, most: object
) -> None:
    await world.database.aliases.update(alias.id, {"parameters": {"max_tokens": most}})
    await post(client)
    assert world.backend.asked[0].max_tokens == domain.Config().max_tokens


async def test_a_message_may_come_in_parts(client: httpx2.AsyncClient, world: World) -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    await post(client, messages=[{"role": "user", "content": parts}])
    assert world.backend.asked[0].prompt == (("user", "a\nb"),)


async def test_a_prompt_may_be_a_list_of_one(client: httpx2.AsyncClient, world: World) -> None:
    await post(client, TEXT, prompt=["Hello"])
    assert world.backend.asked[0].prompt == "Hello"


async def test_all_that_a_request_may_say_is_understood(client: httpx2.AsyncClient) -> None:
    response = await post(
        client,
        frequency_penalty=-2,
        presence_penalty=2.0,
        seed=-1,
        stop=["a", "b"],
        temperature=2,
        top_p=0,
        n=1,
        user="ann",
        stream=False,
        stream_options=None,
    )
    assert response.status_code == 200


async def test_what_was_answered_can_be_sent_back(client: httpx2.AsyncClient) -> None:
    message = (await post(client)).json()["choices"][0]["message"]
    again = [*CHAT_BODY["messages"], message, *CHAT_BODY["messages"]]
    assert (await post(client, messages=again)).status_code == 200


@pytest.mark.parametrize(
    ("path", "fields", "param"),
    [
        (CHAT, {"model": ""}, "model"),
        (CHAT, {"model": None}, "model"),
        (CHAT, {"messages": []}, "messages"),
        (CHAT, {"messages": CHAT_BODY["messages"] * (MESSAGES + 1)}, "messages"),
        (CHAT, {"messages": [{"role": "king", "content": "x"}]}, "messages[0].role"),
        (CHAT, {"messages": [{"role": "user", "content": 1}]}, "messages[0].content"),
        (CHAT, {"messages": [{"role": "user", "content": []}]}, "messages[0].content"),
        (CHAT, {"unknown": 1}, "unknown"),
        (CHAT, {"max_tokens": 0}, "max_tokens"),
        (CHAT, {"max_tokens": 2**31}, "max_tokens"),
        (CHAT, {"max_tokens": 1.5}, "max_tokens"),
        (CHAT, {"max_tokens": True}, "max_tokens"),
        (CHAT, {"max_tokens": "7"}, "max_tokens"),
        (CHAT, {"stream": "true"}, "stream"),
        (CHAT, {"temperature": "1"}, "temperature"),
        (CHAT, {"temperature": 2.1}, "temperature"),
        (CHAT, {"top_p": -0.1}, "top_p"),
        (CHAT, {"frequency_penalty": 3}, "frequency_penalty"),
        (CHAT, {"seed": 2**53 + 1}, "seed"),
        (CHAT, {"stop": ["a"] * 5}, "stop"),
        (CHAT, {"n": 2}, "n"),
        (CHAT, {"stream": True, "stream_options": {"x": 1}}, "stream_options.x"),
        (TEXT, {"prompt": ["a", "b"]}, "prompt"),
        (TEXT, {"prompt": [1, 2]}, "prompt"),
        (TEXT, {"messages": []}, "messages"),
    ],
)
async def test_a_value_that_breaks_a_rule_answers_400_and_is_named(
    client: httpx2.AsyncClient, path: str, fields: dict[str, object], param: str
) -> None:
    content = json.dumps(BODIES[path] | fields)
    headers = {"Content-Type": "application/json"}
    response = await client.post(path, content=content, headers=headers)
    assert refusal(response) == (400, param, "invalid_value")


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"{", "invalid_json"),
        (b"\xff", "invalid_json"),
        (b'"\\ud800"', "invalid_json"),
        (b"[]", "invalid_value"),
    ],
)
async def test_a_body_that_is_no_object_answers_400(
    client: httpx2.AsyncClient, content: bytes, code: str
) -> None:
    headers = {"Content-Type": "application/json"}
    response = await client.post(CHAT, content=content, headers=headers)
    assert refusal(response) == (400, None, code)


@pytest.mark.parametrize("path", [CHAT, TEXT])
@pytest.mark.parametrize("given", [None, "Basic x", "Bearer sk-wrong", "Bearer ", "sk-x"])
async def test_who_shows_no_key_of_ours_is_answered_401(
    client: httpx2.AsyncClient, path: str, given: str | None
) -> None:
    del client.headers["Authorization"]
    client.headers |= {"Authorization": given} if given else {}
    response = await post(client, path)
    assert refusal(response) == (401, None, "invalid_api_key")
    assert response.headers["www-authenticate"] == "Bearer"


async def test_who_shows_no_key_is_not_told_what_is_wrong_with_the_body(
    client: httpx2.AsyncClient,
) -> None:
    del client.headers["Authorization"]
    assert refusal(await client.post(CHAT, content=b"{")) == (401, None, "invalid_api_key")


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_that_is_too_large_answers_413(
    client: httpx2.AsyncClient, *, chunked: bool
) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(5):
            yield b" " * (BYTES // 4)

    content = pieces() if chunked else b" " * (BYTES + 1)
    response = await client.post(CHAT, content=content)
    assert refusal(response) == (413, None, "content_too_large")


async def test_a_revoked_key_answers_401_from_the_next_request_on(
    client: httpx2.AsyncClient, world: World, key: str
) -> None:
    assert (await post(client)).status_code == 200
    kept = (await world.database.grant(Keys(SECRET).hash(key))).key
    await world.database.keys.update(kept.id, {"revoked_at": world.clock.now()})
    await world.config.publish_policy(kept.team_id)
    assert refusal(await post(client)) == (401, None, "invalid_api_key")


async def test_a_key_that_has_expired_answers_401(
    client: httpx2.AsyncClient, world: World, key: str
) -> None:
    kept = (await world.database.grant(Keys(SECRET).hash(key))).key
    until = world.clock.now() + timedelta(seconds=5)
    await world.database.keys.update(kept.id, {"expires_at": until})
    assert (await post(client)).status_code == 200
    world.clock.advance(5)
    assert refusal(await post(client)) == (401, None, "invalid_api_key")


@pytest.mark.parametrize("path", [CHAT, TEXT])
async def test_a_model_that_the_team_has_not_answers_404(
    client: httpx2.AsyncClient, path: str
) -> None:
    response = await post(client, path, model="theirs")
    assert refusal(response) == (404, "model", "model_not_found")


async def test_an_alias_of_a_provider_that_is_gone_answers_404(
    client: httpx2.AsyncClient, world: World
) -> None:
    del world.backends["scripted"]
    assert refusal(await post(client)) == (404, "model", "model_not_found")


@pytest.mark.parametrize("path", [CHAT, TEXT])
async def test_a_team_at_its_limit_is_answered_429_until_it_may_go_on(
    client: httpx2.AsyncClient, world: World, team: domain.Team, path: str
) -> None:
    await world.database.quotas.create(
        domain.NewQuota(team_id=team.id, requests_per_minute=1, tokens_per_minute=100)
    )
    good = await post(client, path)
    assert good.headers["x-ratelimit-limit-requests"] == "1"
    assert good.headers["x-ratelimit-remaining-requests"] == "0"
    assert good.headers["x-ratelimit-limit-tokens"] == "100"
    assert good.headers["x-ratelimit-remaining-tokens"] == "70"
    assert good.headers["x-ratelimit-reset-requests"] == "60.000s"
    world.clock.advance(20.5)
    refused = await post(client, path)
    assert refusal(refused) == (429, None, "rate_limit_exceeded")
    assert refused.headers["retry-after"] == "40"
    assert refused.headers["x-ratelimit-remaining-requests"] == "0"
    world.clock.advance(40)
    assert (await post(client, path)).status_code == 200


async def test_what_was_counted_and_not_used_is_given_back(
    client: httpx2.AsyncClient, world: World, team: domain.Team
) -> None:
    await world.database.quotas.create(
        domain.NewQuota(team_id=team.id, requests_per_minute=9, tokens_per_minute=100)
    )
    left = []
    for _ in range(3):
        left.append((await post(client)).headers["x-ratelimit-remaining-tokens"])
        world.clock.advance(1)
    # Of a request 30 tokens are counted, and 5 used.
    assert left == ["70", "65", "60"]


async def test_a_request_that_the_budget_does_not_pay_for_answers_429(
    client: httpx2.AsyncClient, world: World
) -> None:
    await world.config.publish(replace(domain.Config(), prices={"real": 1}))
    response = await post(client)
    assert refusal(response) == (429, None, "insufficient_quota")
    assert "retry-after" not in response.headers
    assert world.backend.asked == []


async def test_a_request_takes_what_it_used_of_the_budget(
    client: httpx2.AsyncClient, world: World, team: domain.Team
) -> None:
    await world.database.teams.update(team.id, {"budget_cents": 1})
    await world.config.publish(replace(domain.Config(), prices={"real": 7}))
    assert (await post(client)).status_code == 200
    assert (await world.database.teams.get(team.id)).spent_microcents == 5 * 7


@pytest.mark.parametrize("path", [CHAT, TEXT])
async def test_a_backend_that_fails_answers_502_and_costs_nothing(
    client: httpx2.AsyncClient, world: World, team: domain.Team, path: str
) -> None:
    await world.database.teams.update(team.id, {"budget_cents": 1})
    await world.config.publish(replace(domain.Config(), prices={"real": 7}))
    world.backend.script = [errors.BackendError("scripted", "told to")]
    assert refusal(await post(client, path)) == (502, None, "backend_error")
    assert (await world.database.teams.get(team.id)).spent_microcents == 0
    limits = domain.Config().limits
    assert (await world.limiter.admit(team.id, limits, 0)).tokens_left == limits.tokens


@pytest.mark.parametrize("path", [CHAT, TEXT])
async def test_a_backend_that_is_away_answers_503(
    client: httpx2.AsyncClient, world: World, path: str
) -> None:
    world.backend.script = [errors.UnavailableError("scripted")]
    response = await post(client, path)
    assert refusal(response) == (503, None, "unavailable")
    assert response.headers["retry-after"] == "1"


@pytest.mark.parametrize("server", ["database", "config", "limiter"])
async def test_a_server_that_is_away_answers_503(
    client: httpx2.AsyncClient, world: World, server: str
) -> None:
    getattr(world, server).down = True
    response = await post(client)
    assert refusal(response) == (503, None, "unavailable")
    assert "memory is not available" in response.text


async def test_a_config_that_cannot_be_read_answers_503(
    client: httpx2.AsyncClient, world: World
) -> None:
    world.config.unreadable = True
    assert refusal(await post(client)) == (503, None, "unreadable")


async def test_one_request_too_many_at_once_answers_503_and_is_not_counted(
    client: httpx2.AsyncClient, app: FastAPI, world: World, team: domain.Team
) -> None:
    concurrency = app.state.concurrency
    for _ in range(OPTIONS.max_concurrency):
        concurrency.take()
    response = await post(client)
    assert refusal(response) == (503, None, "overloaded")
    assert response.headers["retry-after"] == "1"
    concurrency.free()
    limits = domain.Config().limits
    assert (await post(client)).headers["x-ratelimit-remaining-requests"] == str(
        limits.requests - 1
    )


async def test_a_mistake_of_ours_answers_500(
    client: httpx2.AsyncClient, world: World, lines: list[EventDict]
) -> None:
    world.backend.script = []
    assert refusal(await post(client)) == (500, None, "internal_server_error")


async def test_half_a_surrogate_pair_of_a_model_is_passed_on(
    client: httpx2.AsyncClient, world: World
) -> None:
    world.backend.script = [Chunk("\ud83d", "length", domain.Usage(1, 1))]
    assert (await post(client)).json()["choices"][0]["message"]["content"] == "\ud83d"
