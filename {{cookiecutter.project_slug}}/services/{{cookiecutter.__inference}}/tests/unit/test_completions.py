"""Each way in which a request for a completion can end."""

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from fastapi import FastAPI
from pydantic import TypeAdapter
from structlog.typing import EventDict

from gateway import domain, errors
from gateway.accounts import Keys
from gateway.api import middleware
from gateway.api.schemas import completion_responses
from gateway.api.schemas.completion_requests import (
    MESSAGES,
    NEUTRAL,
    ChatRequest,
    CompletionRequest,
    Sampling,
)
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
    assert answer == TypeAdapter(completion_responses.ChatCompletion).validate_python(answer)
    assert answer["model"] == "mine"
    assert answer["choices"][0]["message"]["content"] == "one two"
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert answer["usage"] == {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


async def test_a_text_is_gone_on_with(client: httpx2.AsyncClient) -> None:
    response = await post(client, TEXT)
    answer = response.json()
    assert response.status_code == 200
    assert answer == TypeAdapter(completion_responses.TextCompletion).validate_python(answer)
    assert (answer["model"], answer["choices"][0]["text"]) == ("mine", "one two")


async def test_a_model_of_the_config_is_there_for_every_team(client: httpx2.AsyncClient) -> None:
    answer = (await post(client, TEXT, model="echo", prompt="b a")).json()
    assert sorted(answer["choices"][0]["text"].split()) == ["a", "b"]


async def test_the_backend_is_asked_for_what_the_alias_stands_for(
    client: httpx2.AsyncClient, world: World
) -> None:
    await post(client, top_p=0.5)
    [asked] = world.backend.asked
    assert (asked.model, asked.prompt) == ("real", CHAT_BODY["messages"])
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
@pytest.mark.parametrize("limit", [None, 9])
async def test_an_alias_without_a_good_limit_has_that_of_the_config_if_there_is_one(
    client: httpx2.AsyncClient,
    world: World,
    alias: domain.ModelAlias,
    most: object,
    limit: int | None,
) -> None:
    await world.database.aliases.update(alias.id, {"parameters": {"max_tokens": most}})
    await world.configure(max_tokens=limit, prices={"real": 0})
    await post(client)
    assert world.backend.asked[0].max_tokens == limit


async def test_a_message_may_come_in_parts(client: httpx2.AsyncClient, world: World) -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    await post(client, messages=[{"role": "user", "content": parts}])
    assert world.backend.asked[0].prompt == [{"role": "user", "content": parts}]


async def test_a_prompt_may_be_a_list_of_one(client: httpx2.AsyncClient, world: World) -> None:
    await post(client, TEXT, prompt=["Hello"])
    assert world.backend.asked[0].prompt == "Hello"


COMMON = {"model", "messages", "prompt", "stream", "stream_options", "n", "max_tokens", "best_of"}
SCHEMAS: dict[str, type[Sampling]] = {CHAT: ChatRequest, TEXT: CompletionRequest}
NOTHING: dict[str, dict[str, object]] = {
    path: {name: NEUTRAL.get(name) for name in schema.model_fields if name not in COMMON}
    for path, schema in SCHEMAS.items()
}
NOTHING[TEXT]["logprobs"] = None


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize("null", [False, True])
async def test_what_changes_nothing_passes_before_any_backend_and_is_not_passed_on(
    client: httpx2.AsyncClient, world: World, path: str, *, null: bool
) -> None:
    world.backend.unsupported = {*NOTHING[path]} | {"n"}
    fields = {**dict.fromkeys(NOTHING[path])} if null else NOTHING[path]
    ours = {"stream": False, "n": 1} if null else dict.fromkeys(("n", "stream", "stream_options"))
    assert (await post(client, path, **fields, **ours)).status_code == 200
    assert world.backend.asked[0].parameters == {"temperature": 0.5, "max_tokens": 20}


async def test_a_neutral_value_goes_before_what_the_alias_says(
    client: httpx2.AsyncClient, world: World, alias: domain.ModelAlias
) -> None:
    await world.database.aliases.update(alias.id, {"parameters": {"logprobs": True}})
    await post(client, logprobs=False)
    await post(client)
    assert [asked.parameters for asked in world.backend.asked] == [{}, {"logprobs": True}]


TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
PICTURE = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}
# What some models do: the fields that ask for it, and the one that is named where one does not.
FEATURES: list[tuple[str, dict[str, Any], str]] = [
    (CHAT, {"tools": [TOOL]}, "tools"),
    (CHAT, {"tool_choice": "required"}, "tool_choice"),
    (CHAT, {"parallel_tool_calls": False}, "parallel_tool_calls"),
    (CHAT, {"response_format": {"type": "json_object"}}, "response_format"),
    (CHAT, {"logprobs": True, "top_logprobs": 0}, "logprobs"),
    (CHAT, {"store": True}, "store"),
    (CHAT, {"n": 2}, "n"),
    (TEXT, {"n": 2}, "n"),
    (TEXT, {"logprobs": 0}, "logprobs"),
    (TEXT, {"echo": True}, "echo"),
    (TEXT, {"suffix": "."}, "suffix"),
    (
        CHAT,
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}, PICTURE]}]},
        "messages[0].content[1]",
    ),
]


@pytest.mark.parametrize(("path", "fields", "param"), FEATURES)
async def test_what_a_backend_can_do_is_passed_on_and_what_it_cannot_is_named(
    client: httpx2.AsyncClient, world: World, path: str, fields: dict[str, Any], param: str
) -> None:
    assert (await post(client, path, **fields)).status_code == 200
    [asked] = world.backend.asked
    seen = {**asked.parameters, "n": asked.n, "messages": asked.prompt}
    assert seen == seen | {
        name: value for name, value in fields.items() if value != 0 or path == TEXT
    }
    refused = await post(client, path, **fields, model="echo")
    assert refusal(refused) == (400, param, "unsupported_parameter")


async def test_calls_of_tools_come_back_and_can_be_answered(
    client: httpx2.AsyncClient, world: World
) -> None:
    calls = [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    usage = domain.Usage(3, 2)
    world.backend.script = [Chunk("", "tool_calls", usage, more={"tool_calls": calls})]
    [choice] = (await post(client, tools=[TOOL])).json()["choices"]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"] == {
        "role": "assistant",
        "content": None,
        "refusal": None,
        "tool_calls": calls,
    }
    result = {"role": "tool", "tool_call_id": "1", "content": "7"}
    again = [*CHAT_BODY["messages"], choice["message"], result]
    assert (await post(client, messages=again)).status_code == 200
    sent = {"role": "assistant", "tool_calls": calls}
    assert world.backend.asked[-1].prompt == [*CHAT_BODY["messages"], sent, result]
    # Also by those who have no tools: the answer is in the words.
    assert (await post(client, messages=again, model="echo")).status_code == 200


async def test_choices_have_numbers_reasons_and_log_probabilities(
    client: httpx2.AsyncClient, world: World, team: domain.Team
) -> None:
    await world.database.teams.update(team.id, {"budget_cents": 1})
    await world.configure(prices={"real": 7})
    likely = {"content": [{"logprob": -0.5, "top_logprobs": []}]}
    world.backend.script = [
        Chunk("one", "content_filter", logprobs=likely),
        Chunk("two", "length", domain.Usage(3, 4), 1),
    ]
    answer = (await post(client, n=2)).json()
    assert [
        (each["index"], each["message"]["content"], each["finish_reason"], each["logprobs"])
        for each in answer["choices"]
    ] == [(0, "one", "content_filter", likely), (1, "two", "length", None)]
    assert (await world.database.teams.get(team.id)).spent_microcents == 7 * 7


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
        (CHAT, {"n": 0}, "n"),
        (CHAT, {"stream": True, "stream_options": {"x": 1}}, "stream_options.x"),
        (TEXT, {"prompt": ["a", "b"]}, "prompt"),
        (TEXT, {"prompt": [1, 2]}, "prompt"),
        (TEXT, {"best_of": 2}, "best_of"),
        (TEXT, {"stream_options": {"include_usage": True}}, "stream_options"),
        (CHAT, {"stream_options": {}}, "stream_options"),
        (CHAT, {"messages": [{"role": "user"}]}, "messages[0]"),
        (CHAT, {"messages": [{"role": "user", "content": None}]}, "messages[0]"),
        (
            CHAT,
            {"messages": [{"role": "user", "content": [{"type": "video"}]}]},
            "messages[0].content[0].type",
        ),
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
        (b"[" * 100_000, "invalid_json"),
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
            yield b" " * (most // 4)

    most = middleware.BODIES["/v1/"]
    content = pieces() if chunked else b" " * (most + 1)
    response = await client.post(CHAT, content=content)
    assert refusal(response) == (413, None, "content_too_large")


async def test_a_revoked_key_answers_401_from_the_next_request_on(
    client: httpx2.AsyncClient, world: World, key: str
) -> None:
    assert (await post(client)).status_code == 200
    kept = (await world.database.grant(Keys(SECRET).hash(key))).key
    await world.database.keys.update(kept.id, {"revoked_at": world.clock.now()})
    await world.announcements.announce()
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
    await world.configure(prices={"real": 1})
    response = await post(client)
    assert refusal(response) == (429, None, "insufficient_quota")
    assert "retry-after" not in response.headers
    assert world.backend.asked == []


async def test_a_request_takes_what_it_used_of_the_budget(
    client: httpx2.AsyncClient, world: World, team: domain.Team
) -> None:
    await world.database.teams.update(team.id, {"budget_cents": 1})
    await world.configure(prices={"real": 7})
    assert (await post(client)).status_code == 200
    assert (await world.database.teams.get(team.id)).spent_microcents == 5 * 7


# What a backend raises, and what its client is told: clients of OpenAI decide by it whether they
# ask again.
FAILURES = [
    (errors.BackendError("scripted", "told to"), (502, None, "backend_error"), {}),
    (
        errors.BackendError("scripted", "no key", final=True),
        (502, None, "backend_error"),
        {"x-should-retry": "false"},
    ),
    (errors.UnavailableError("scripted"), (503, None, "unavailable"), {"retry-after": "1"}),
    (errors.UnavailableError("scripted", 9), (503, None, "unavailable"), {"retry-after": "9"}),
    (
        errors.ThrottledError("requests", 20),
        (429, None, "rate_limit_exceeded"),
        {"retry-after": "20"},
    ),
    (errors.RefusedError("no"), (400, None, "refused"), {}),
    (
        errors.RefusedError("too long", "messages", "context_length_exceeded"),
        (400, "messages", "context_length_exceeded"),
        {},
    ),
]


@pytest.mark.parametrize("path", [CHAT, TEXT])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("error", "told", "headers"), FAILURES)
async def test_a_backend_that_fails_costs_nothing_and_its_client_is_told_how_it_failed(
    client: httpx2.AsyncClient,
    world: World,
    team: domain.Team,
    path: str,
    error: errors.ServiceError,
    told: tuple[int, str | None, str],
    headers: dict[str, str],
    *,
    stream: bool,
) -> None:
    await world.database.teams.update(team.id, {"budget_cents": 1})
    await world.configure(prices={"real": 7})
    world.backend.script = [error]
    response = await post(client, path, stream=stream)
    assert refusal(response) == told
    assert response.headers["content-type"] == "application/json"
    names = ("retry-after", "x-should-retry")
    assert {name: response.headers[name] for name in names if name in response.headers} == headers
    assert (await world.database.teams.get(team.id)).spent_microcents == 0
    limits = domain.Config().limits
    assert (await world.limiter.admit(team.id, limits, 0)).tokens_left == limits.tokens


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (domain.Limits(9, 29), "quota is 29 tokens a minute, and this may take 30 of them"),
        (domain.Limits(0, 99), "quota is 0 requests a minute, and this may take 1 of them"),
    ],
)
async def test_a_request_larger_than_the_quota_is_refused_for_good(
    client: httpx2.AsyncClient,
    world: World,
    team: domain.Team,
    limits: domain.Limits,
    message: str,
) -> None:
    quota = domain.NewQuota(
        team_id=team.id, requests_per_minute=limits.requests, tokens_per_minute=limits.tokens
    )
    await world.database.quotas.create(quota)
    response = await post(client)
    assert refusal(response) == (400, None, "request_too_large")
    assert message in response.text
    assert "retry-after" not in response.headers


@pytest.mark.parametrize("server", ["database", "limiter"])
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
    world.database.unreadable = True
    assert refusal(await post(client)) == (503, None, "unreadable")


@pytest.mark.parametrize(
    ("mine", "theirs", "status", "code"),
    [
        (OPTIONS.max_concurrency_of_team, 0, 429, "rate_limit_exceeded"),
        (1, OPTIONS.max_concurrency - 1, 503, "overloaded"),
    ],
)
async def test_one_request_too_many_at_once_is_refused_and_not_counted(
    client: httpx2.AsyncClient,
    app: FastAPI,
    team: domain.Team,
    mine: int,
    theirs: int,
    status: int,
    code: str,
) -> None:
    concurrency = app.state.concurrency
    for _ in range(mine):
        concurrency.take(team.id)
    for _ in range(theirs):
        concurrency.take(uuid4())
    response = await post(client)
    assert refusal(response) == (status, None, code)
    assert response.headers["retry-after"] == "1"
    concurrency.free(team.id)
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
