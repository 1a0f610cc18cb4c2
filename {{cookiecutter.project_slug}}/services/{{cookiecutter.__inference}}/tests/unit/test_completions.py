"""Each way in which a request for a completion can end."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from pydantic import TypeAdapter
from structlog.typing import EventDict

from gateway import domain, errors
from gateway.api.schemas import completion_requests, completion_responses
from gateway.ports import Chunk

from .conftest import ASKED, BODIES, CHAT, OPTIONS, TEXT, Customer, Refusal, World, refusal

Headers = dict[str, str]
each_path = pytest.mark.parametrize("path", BODIES)


@pytest.mark.parametrize(
    ("path", "kind"),
    [(CHAT, completion_responses.ChatCompletion), (TEXT, completion_responses.TextCompletion)],
)
async def test_an_answer_costs_what_it_used(customer: Customer, path: str, kind: type) -> None:
    await customer.pay()
    response = await customer.post(path)
    answer = response.json()
    assert response.status_code == 200
    assert answer == TypeAdapter(kind).validate_python(answer)
    assert answer["model"] == "mine"
    [choice] = answer["choices"]
    assert (choice.get("text") or choice["message"]["content"]) == "one two"
    assert choice["finish_reason"] == "stop"
    assert answer["usage"] == {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    assert await customer.spent() == 5 * 7


PARTS = [{"role": "user", "content": [{"type": "text", "text": each} for each in "ab"]}]
# What is asked for, and what the backend is: what the request says goes before what the alias does.
REQUESTS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    (CHAT, {"top_p": 0.5}, {"parameters": {"temperature": 0.5, "max_tokens": 20, "top_p": 0.5}}),
    (CHAT, {"temperature": 0}, {"parameters": {"temperature": 0, "max_tokens": 20}}),
    (CHAT, {"max_tokens": 7.0}, {"max_tokens": 7}),
    (CHAT, {"max_completion_tokens": 8, "max_tokens": 7}, {"max_tokens": 8}),
    (CHAT, {"messages": PARTS}, {"prompt": PARTS}),
    (TEXT, {"prompt": ["Hello"]}, {"prompt": "Hello"}),
]


@pytest.mark.parametrize(("path", "fields", "expected"), REQUESTS)
async def test_the_backend_is_asked_for_what_the_alias_stands_for(
    customer: Customer, path: str, fields: dict[str, Any], expected: dict[str, Any]
) -> None:
    await customer.post(path, **fields)
    [asked] = customer.world.backend.asked
    default = {"model": "real", "max_tokens": 20, "prompt": ASKED if path == CHAT else "Hello"}
    for name, value in (default | expected).items():
        assert getattr(asked, name) == value


@pytest.mark.parametrize("most", [0, 2**31, True, "7", None])
@pytest.mark.parametrize("limit", [None, 9])
async def test_an_alias_without_a_good_limit_has_that_of_the_config_if_there_is_one(
    customer: Customer, world: World, most: object, limit: int | None
) -> None:
    await customer.set_parameters(max_tokens=most)
    await world.configure(max_tokens=limit, prices={"real": 0})
    await customer.post()
    assert world.backend.asked[0].max_tokens == limit


@pytest.mark.parametrize(
    ("path", "kind"),
    [(CHAT, completion_requests.ChatRequest), (TEXT, completion_requests.CompletionRequest)],
)
@pytest.mark.parametrize("null", [False, True])
async def test_what_changes_nothing_passes_before_any_backend_and_is_not_passed_on(
    customer: Customer, path: str, kind: type[completion_requests.Sampling], *, null: bool
) -> None:
    fields = {
        name: None if null else field.get_default(call_default_factory=True)
        for name, field in kind.model_fields.items()
        if name not in completion_requests.OWN
    }
    ours = {"stream": False, "n": 1} if null else dict.fromkeys(("n", "stream", "stream_options"))
    backend = customer.world.backend
    backend.unsupported = {*fields, "n"}
    assert (await customer.post(path, **fields, **ours)).status_code == 200
    assert backend.asked[0].parameters == {"temperature": 0.5, "max_tokens": 20}


async def test_a_neutral_value_goes_before_what_the_alias_says(customer: Customer) -> None:
    await customer.set_parameters(logprobs=True)
    await customer.post(logprobs=False)
    await customer.post()
    asked = customer.world.backend.asked
    assert [each.parameters for each in asked] == [{}, {"logprobs": True}]


TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
PICTURE = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}
PICTURES = [{"role": "user", "content": [{"type": "text", "text": "x"}, PICTURE]}]
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
    (CHAT, {"messages": PICTURES}, "messages[0].content[1]"),
]


@pytest.mark.parametrize(("path", "fields", "param"), FEATURES)
async def test_what_a_backend_can_do_is_passed_on_and_what_it_cannot_is_named(
    customer: Customer, path: str, fields: dict[str, Any], param: str
) -> None:
    assert (await customer.post(path, **fields)).status_code == 200
    [asked] = customer.world.backend.asked
    seen = {**asked.parameters, "n": asked.n, "messages": asked.prompt}
    assert seen == seen | {
        name: value for name, value in fields.items() if value != 0 or path == TEXT
    }
    refused = await customer.post(path, **fields, model="echo")
    assert refusal(refused) == (400, param, "unsupported_parameter")


async def test_calls_of_tools_come_back_and_can_be_answered(customer: Customer) -> None:
    calls = [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    backend, usage = customer.world.backend, domain.Usage(3, 2)
    backend.script = [Chunk("", "tool_calls", usage, more={"tool_calls": calls})]
    [choice] = (await customer.post(tools=[TOOL])).json()["choices"]
    assert choice["finish_reason"] == "tool_calls"
    sent = {"role": "assistant", "tool_calls": calls}
    assert choice["message"] == {"content": None, "refusal": None, **sent}
    result = {"role": "tool", "tool_call_id": "1", "content": "7"}
    again = [*ASKED, choice["message"], result]
    assert (await customer.post(messages=again)).status_code == 200
    assert backend.asked[-1].prompt == [*ASKED, sent, result]
    # Also by those who have no tools: the answer is in the words.
    assert (await customer.post(messages=again, model="echo")).status_code == 200


async def test_choices_have_numbers_reasons_and_log_probabilities(customer: Customer) -> None:
    await customer.pay()
    likely = {"content": [{"logprob": -0.5, "top_logprobs": []}]}
    # Half a surrogate pair, which no UTF-8 carries, is passed on.
    customer.world.backend.script = [
        Chunk("\ud83d", "content_filter", logprobs=likely),
        Chunk("two", "length", domain.Usage(3, 4), 1),
    ]
    answer = (await customer.post(n=2)).json()
    assert [
        (each["index"], each["message"]["content"], each["finish_reason"], each["logprobs"])
        for each in answer["choices"]
    ] == [(0, "\ud83d", "content_filter", likely), (1, "two", "length", None)]
    assert await customer.spent() == 7 * 7


def said(content: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": content}]}


@pytest.mark.parametrize(
    ("path", "fields", "param"),
    [
        *((CHAT, {"model": each}, "model") for each in ("", None)),
        (CHAT, {"messages": []}, "messages"),
        (CHAT, {"messages": ASKED * (completion_requests.MESSAGES + 1)}, "messages"),
        (CHAT, {"messages": [{"role": "king", "content": "x"}]}, "messages[0].role"),
        (CHAT, {"messages": [{"role": "user"}]}, "messages[0]"),
        (CHAT, said(1), "messages[0].content"),
        (CHAT, said([]), "messages[0].content"),
        (CHAT, said(None), "messages[0]"),
        (CHAT, said([{"type": "video"}]), "messages[0].content[0].type"),
        (CHAT, {"unknown": 1}, "unknown"),
        *((CHAT, {"max_tokens": most}, "max_tokens") for most in (0, 2**31, 1.5, True, "7")),
        (CHAT, {"stream": "true"}, "stream"),
        *((CHAT, {"temperature": each}, "temperature") for each in ("1", 2.1)),
        (CHAT, {"top_p": -0.1}, "top_p"),
        (CHAT, {"frequency_penalty": 3}, "frequency_penalty"),
        *((CHAT, {"seed": each}, "seed") for each in (2**53 + 1, "secret")),
        (CHAT, {"stop": ["a"] * 5}, "stop"),
        (CHAT, {"n": 0}, "n"),
        (CHAT, {"stream": True, "stream_options": {"x": 1}}, "stream_options.x"),
        (CHAT, {"stream_options": {}}, "stream_options"),
        (TEXT, {"stream_options": {"include_usage": True}}, "stream_options"),
        *((TEXT, {"prompt": each}, "prompt") for each in (["a", "b"], [1, 2])),
        (TEXT, {"best_of": 2}, "best_of"),
        (TEXT, {"messages": []}, "messages"),
    ],
)
async def test_a_value_that_breaks_a_rule_answers_400_and_is_named_but_not_sent_back(
    customer: Customer, path: str, fields: dict[str, object], param: str
) -> None:
    response = await customer.post(path, **fields)
    assert refusal(response) == (400, param, "invalid_value")
    assert "secret" not in response.text


@each_path
@pytest.mark.parametrize("given", [None, "Basic x", "Bearer sk-wrong", "Bearer ", "sk-x"])
@pytest.mark.parametrize("fields", [{}, {"model": None}])
async def test_who_shows_no_key_of_ours_is_answered_401_whatever_is_asked_for(
    customer: Customer, path: str, given: str | None, fields: dict[str, None]
) -> None:
    del customer.client.headers["Authorization"]
    customer.client.headers |= {"Authorization": given} if given else {}
    response = await customer.post(path, **fields)
    assert refusal(response) == (401, None, "invalid_api_key")
    assert response.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(("field", "good"), [("revoked_at", 0), ("expires_at", 5)])
async def test_a_key_that_was_revoked_or_has_expired_answers_401_from_the_next_request_on(
    customer: Customer, world: World, field: str, good: float
) -> None:
    assert (await customer.post()).status_code == 200
    until = world.clock.now() + timedelta(seconds=good)
    await world.database.keys.update(customer.key.id, {field: until})
    await world.announcements.announce()
    if good:
        assert (await customer.post()).status_code == 200
        world.clock.advance(good)
    assert refusal(await customer.post()) == (401, None, "invalid_api_key")


@each_path
@pytest.mark.parametrize("gone", [False, True])
async def test_an_unknown_model_answers_404(customer: Customer, path: str, *, gone: bool) -> None:
    if gone:
        # The provider of an alias.
        del customer.world.backends["scripted"]
    response = await customer.post(path, model="mine" if gone else "theirs")
    assert refusal(response) == (404, "model", "model_not_found")


@each_path
async def test_a_team_at_its_limit_is_answered_429_until_it_may_go_on(
    customer: Customer, world: World, path: str
) -> None:
    await world.quota(customer.team, 2, 60)
    told = [(await customer.post(path)).headers for _ in range(2)]
    # Of a request 30 tokens are counted, and 5 used.
    assert [
        [headers[f"x-ratelimit-{name}"] for name in ("remaining-requests", "remaining-tokens")]
        for headers in told
    ] == [["1", "30"], ["0", "25"]]
    names = ("limit-requests", "limit-tokens", "reset-requests")
    assert [told[0][f"x-ratelimit-{name}"] for name in names] == ["2", "60", "60.000s"]
    world.clock.advance(20.5)
    refused = await customer.post(path)
    assert refusal(refused) == (429, None, "rate_limit_exceeded")
    assert refused.headers["retry-after"] == "40"
    assert refused.headers["x-ratelimit-remaining-requests"] == "0"
    world.clock.advance(40)
    assert (await customer.post(path)).status_code == 200


async def test_a_request_that_the_budget_does_not_pay_for_answers_429(customer: Customer) -> None:
    await customer.world.configure(prices={"real": 1})
    response = await customer.post()
    assert refusal(response) == (429, None, "insufficient_quota")
    assert "retry-after" not in response.headers
    assert customer.world.backend.asked == []


# What a backend raises, and what its client is told: clients of OpenAI decide by it whether they
# ask again.
FAILURES: list[tuple[errors.ServiceError, Refusal, Headers]] = [
    (errors.BackendError("scripted", "told to"), (502, None, "backend_error"), {}),
    (
        errors.BackendError("scripted", "no key", final=True),
        (502, None, "backend_error"),
        {"x-should-retry": "false"},
    ),
    (errors.UnavailableError("scripted"), (503, None, "unavailable"), {"retry-after": "1"}),
    (errors.UnavailableError("scripted", 9), (503, None, "unavailable"), {"retry-after": "9"}),
    (errors.ThrottledError("x", 20), (429, None, "rate_limit_exceeded"), {"retry-after": "20"}),
    (errors.RefusedError("no"), (400, None, "refused"), {}),
    (errors.RefusedError("no", "messages", "too_long"), (400, "messages", "too_long"), {}),
]


@each_path
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("error", "told", "headers"), FAILURES)
async def test_a_backend_that_fails_costs_nothing_and_its_client_is_told_how_it_failed(
    customer: Customer, path: str, error: Exception, told: Refusal, headers: Headers, stream: bool
) -> None:
    await customer.pay()
    customer.world.backend.script = [error]
    response = await customer.post(path, stream=stream)
    assert refusal(response) == told
    assert response.headers["content-type"] == "application/json"
    names = ("retry-after", "x-should-retry")
    assert {name: response.headers[name] for name in names if name in response.headers} == headers
    assert await customer.spent() == 0
    assert await customer.tokens_left() == domain.Config().limits.tokens


@pytest.mark.parametrize(
    ("requests", "tokens", "message"),
    [
        (9, 29, "quota is 29 tokens a minute, and this may take 30 of them"),
        (0, 99, "quota is 0 requests a minute, and this may take 1 of them"),
    ],
)
async def test_a_request_larger_than_the_quota_is_refused_for_good(
    customer: Customer, requests: int, tokens: int, message: str
) -> None:
    await customer.world.quota(customer.team, requests, tokens)
    response = await customer.post()
    assert refusal(response) == (400, None, "request_too_large")
    assert message in response.text
    assert "retry-after" not in response.headers


@pytest.mark.parametrize(
    ("server", "fault", "code"),
    [
        ("database", "down", "unavailable"),
        ("limiter", "down", "unavailable"),
        ("database", "unreadable", "unreadable"),
    ],
)
async def test_a_server_that_is_away_or_holds_no_config_answers_503(
    customer: Customer, lines: list[EventDict], server: str, fault: str, code: str
) -> None:
    setattr(getattr(customer.world, server), fault, True)
    response = await customer.post()
    assert refusal(response) == (503, None, code)
    assert ("memory is not available" in response.text) == (fault == "down")
    # The client is not told why.
    warned = [line["server"] for line in lines if line["log_level"] == "warning"]
    assert warned == (["memory"] if fault == "down" else [])


@pytest.mark.parametrize(
    ("mine", "theirs", "status", "code"),
    [
        (OPTIONS.max_concurrency_of_team, 0, 429, "rate_limit_exceeded"),
        (1, OPTIONS.max_concurrency - 1, 503, "overloaded"),
    ],
)
async def test_one_request_too_many_at_once_is_refused_and_not_counted(
    customer: Customer, mine: int, theirs: int, status: int, code: str
) -> None:
    concurrency, team = customer.app.state.concurrency, customer.team.id
    for each in [team] * mine + [uuid4() for _ in range(theirs)]:
        concurrency.take(each)
    response = await customer.post()
    assert refusal(response) == (status, None, code)
    assert response.headers["retry-after"] == "1"
    concurrency.free(team)
    left = (await customer.post()).headers["x-ratelimit-remaining-requests"]
    assert left == str(domain.Config().limits.requests - 1)
