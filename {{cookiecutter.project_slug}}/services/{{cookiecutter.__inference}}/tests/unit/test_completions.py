"""Each outcome of a completion request."""

from typing import Any
from uuid import uuid4

import pytest
from pydantic import TypeAdapter
from structlog.typing import EventDict

from gateway import domain, errors
from gateway.api.schemas import completions as schemas
from gateway.ports import Chunk

from .conftest import ALIAS, ASKED, BODIES, CHAT, OPTIONS, TEXT, Customer, Refusal, refusal

Object = dict[str, Any]
KINDS: dict[str, tuple[type[schemas.Sampling], type]] = {
    CHAT: (schemas.ChatRequest, schemas.ChatCompletion),
    TEXT: (schemas.CompletionRequest, schemas.TextCompletion),
}
each_path = pytest.mark.parametrize("path", BODIES)


@each_path
async def test_a_completion_is_charged_by_its_usage(customer: Customer, path: str) -> None:
    await customer.pay()
    response = await customer.post(path)
    answer = response.json()
    assert response.status_code == 200
    assert answer == TypeAdapter(KINDS[path][1]).validate_python(answer)
    [choice] = answer["choices"]
    said = choice.get("text") or choice["message"]["content"]
    assert (answer["model"], said, choice["finish_reason"]) == ("mine", "one two", "stop")
    assert answer["usage"] == {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    assert await customer.spent() == 5 * 7


PARTS = [{"role": "user", "content": [{"type": "text", "text": each} for each in "ab"]}]
# Fields of the request, the alias's parameters, which it overrides, and the backend's request.
REQUESTS: list[tuple[str, Object, Object, Object]] = [
    (CHAT, {}, ALIAS, {"prompt": ASKED, "max_tokens": 20, "parameters": ALIAS}),
    (TEXT, {}, ALIAS, {"prompt": "Hello", "max_tokens": 20, "parameters": ALIAS}),
    (CHAT, {"top_p": 0.5}, ALIAS, {"parameters": {**ALIAS, "top_p": 0.5}}),
    (CHAT, {"temperature": 0}, ALIAS, {"parameters": {**ALIAS, "temperature": 0}}),
    # Default values override, too.
    (CHAT, {"logprobs": False}, {"logprobs": True}, {"parameters": {}}),
    (CHAT, {"max_tokens": 7.0}, ALIAS, {"max_tokens": 7}),
    (CHAT, {"max_completion_tokens": 8, "max_tokens": 7}, ALIAS, {"max_tokens": 8}),
    (CHAT, {"messages": PARTS}, ALIAS, {"prompt": PARTS}),
    (TEXT, {"prompt": ["Hello"]}, ALIAS, {"prompt": "Hello"}),
    # Without a valid limit in the alias, the config's applies.
    *((CHAT, {}, {"max_tokens": most}, {"max_tokens": 9}) for most in (0, 2**31, True, "7", None)),
]


@pytest.mark.parametrize(("path", "fields", "alias", "expected"), REQUESTS)
async def test_the_backend_receives_the_model_and_parameters_of_the_alias(
    customer: Customer, path: str, fields: Object, alias: Object, expected: Object
) -> None:
    await customer.set_parameters(**alias)
    await customer.world.configure(max_tokens=9, prices={"real": 0})
    await customer.post(path, **fields)
    [asked] = customer.world.backend.asked
    assert asked.model == "real"
    assert {name: getattr(asked, name) for name in expected} == expected


@each_path
@pytest.mark.parametrize("null", [False, True])
async def test_defaults_are_not_passed_on(customer: Customer, path: str, *, null: bool) -> None:
    fields = {
        name: None if null else field.get_default(call_default_factory=True)
        for name, field in KINDS[path][0].model_fields.items()
        if name not in schemas.OWN
    }
    ours = {"stream": False, "n": 1} if null else dict.fromkeys(("n", "stream", "stream_options"))
    backend = customer.world.backend
    backend.unsupported = {*fields, "n"}
    assert (await customer.post(path, **fields, **ours)).status_code == 200
    assert backend.asked[0].parameters == ALIAS


TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
PICTURE = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}
PICTURES = [{"role": "user", "content": [{"type": "text", "text": "x"}, PICTURE]}]
# Fields that need a feature of the model, and the one that an error names without it.
FEATURES: list[tuple[str, Object, str]] = [
    (CHAT, {"tools": [TOOL]}, "tools"),
    (CHAT, {"tool_choice": "required"}, "tool_choice"),
    (CHAT, {"parallel_tool_calls": False}, "parallel_tool_calls"),
    (CHAT, {"response_format": {"type": "json_object"}}, "response_format"),
    (CHAT, {"logprobs": True}, "logprobs"),
    (CHAT, {"store": True}, "store"),
    (CHAT, {"n": 2}, "n"),
    (TEXT, {"n": 2}, "n"),
    (TEXT, {"logprobs": 0}, "logprobs"),
    (TEXT, {"echo": True}, "echo"),
    (TEXT, {"suffix": "."}, "suffix"),
    (CHAT, {"messages": PICTURES}, "messages[0].content[1]"),
]


@pytest.mark.parametrize(("path", "fields", "param"), FEATURES)
async def test_supported_features_are_passed_on_and_unsupported_ones_are_refused_by_name(
    customer: Customer, path: str, fields: Object, param: str
) -> None:
    assert (await customer.post(path, **fields)).status_code == 200
    [asked] = customer.world.backend.asked
    seen = {**asked.parameters, "n": asked.n, "messages": asked.prompt}
    assert seen == seen | fields
    refused = await customer.post(path, **fields, model="echo")
    assert refusal(refused) == (400, param, "unsupported_parameter")


async def test_tool_calls_are_returned_and_can_be_answered(customer: Customer) -> None:
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
    # Also by backends without tools, since the messages contain the results.
    assert (await customer.post(messages=again, model="echo")).status_code == 200


async def test_choices_have_indexes_finish_reasons_and_logprobs(customer: Customer) -> None:
    await customer.pay()
    likely = {"content": [{"logprob": -0.5, "top_logprobs": []}]}
    customer.world.backend.script = [
        Chunk("界", "content_filter", logprobs=likely),
        Chunk("two", "length", domain.Usage(3, 4), 1),
    ]
    answer = (await customer.post(n=2)).json()
    assert [
        (each["index"], each["message"]["content"], each["finish_reason"], each["logprobs"])
        for each in answer["choices"]
    ] == [(0, "界", "content_filter", likely), (1, "two", "length", None)]
    assert await customer.spent() == 7 * 7


def said(content: Any) -> Object:
    return {"messages": [{"role": "user", "content": content}]}


@pytest.mark.parametrize(
    ("path", "fields", "param"),
    [
        *((CHAT, {"model": each}, "model") for each in ("", None)),
        (CHAT, {"messages": []}, "messages"),
        (CHAT, {"messages": ASKED * (schemas.MESSAGES + 1)}, "messages"),
        (CHAT, {"messages": [{"role": "king", "content": "x"}]}, "messages[0].role"),
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
async def test_an_invalid_value_returns_400_with_its_field_but_without_the_value(
    customer: Customer, path: str, fields: Object, param: str
) -> None:
    response = await customer.post(path, **fields)
    assert refusal(response) == (400, param, "invalid_value")
    assert "secret" not in response.text


async def test_a_team_at_its_rate_limit_gets_429_until_retry_after(customer: Customer) -> None:
    await customer.world.quota(customer.team, 2, 60)
    first, second = [(await customer.post()).headers for _ in range(2)]
    names = ("limit-requests", "limit-tokens", "remaining-requests", "remaining-tokens")
    # A request counts as 30 tokens, and uses 5.
    for told, values in ((first, ["2", "60", "1", "30"]), (second, ["2", "60", "0", "25"])):
        assert [told[f"x-ratelimit-{name}"] for name in names] == values
    assert first["x-ratelimit-reset-requests"] == "60.000s"
    customer.world.clock.advance(20.5)
    refused = await customer.post()
    assert refusal(refused) == (429, None, "rate_limit_exceeded")
    assert refused.headers["retry-after"] == "40"
    assert refused.headers["x-ratelimit-remaining-requests"] == "0"
    customer.world.clock.advance(40)
    assert (await customer.post()).status_code == 200


@pytest.mark.parametrize(
    ("requests", "tokens", "status", "code", "message"),
    [
        (9, 29, 400, "request_too_large", "is 29 tokens a minute, but this request may take 30"),
        (0, 99, 400, "request_too_large", "is 0 requests a minute, but this request may take 1"),
        (9, 99, 429, "insufficient_quota", ""),
    ],
)
async def test_a_request_that_never_fits_the_quota_or_budget_is_refused_without_retry_after(
    customer: Customer, requests: int, tokens: int, status: int, code: str, message: str
) -> None:
    await customer.world.configure(prices={"real": 1})
    await customer.world.quota(customer.team, requests, tokens)
    response = await customer.post()
    assert refusal(response) == (status, None, code)
    assert message in response.text
    assert "retry-after" not in response.headers
    assert customer.world.backend.asked == []


# Errors of a backend, and the responses to them, by which clients of OpenAI decide whether to
# retry.
BROKEN, AWAY = (502, None, "backend_error"), (503, None, "unavailable")
FAILURES: list[tuple[errors.ServiceError, Refusal, dict[str, str]]] = [
    (errors.BackendError("x", "told to"), BROKEN, {}),
    (errors.BackendError("x", "no key", final=True), BROKEN, {"x-should-retry": "false"}),
    (errors.UnavailableError("x"), AWAY, {"retry-after": "1"}),
    (errors.UnavailableError("x", 9), AWAY, {"retry-after": "9"}),
    (errors.ThrottledError("x", 20), (429, None, "rate_limit_exceeded"), {"retry-after": "20"}),
    (errors.RefusedError("no"), (400, None, "refused"), {}),
    (errors.RefusedError("no", "messages", "too_long"), (400, "messages", "too_long"), {}),
]


@each_path
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("error", "told", "headers"), FAILURES)
async def test_a_backend_failure_costs_nothing_and_is_reported_to_the_client(
    customer: Customer, path: str, error: Exception, told: Refusal, headers: Object, stream: bool
) -> None:
    await customer.pay()
    customer.world.backend.script = [error]
    response = await customer.post(path, stream=stream)
    assert refusal(response) == told
    names = ("retry-after", "x-should-retry")
    assert {name: response.headers[name] for name in names if name in response.headers} == headers
    assert await customer.used() == (0, 0)


async def test_an_unreadable_config_or_missing_server_returns_503_and_the_log_names_the_server(
    customer: Customer, lines: list[EventDict]
) -> None:
    customer.world.database.unreadable = True
    assert refusal(await customer.post()) == (503, None, "unreadable")
    customer.world.database.unreadable, customer.world.limiter.down = False, True
    response = await customer.post()
    assert refusal(response) == (503, None, "unavailable")
    assert "memory is not available" in response.text
    assert [line["server"] for line in lines if line["log_level"] == "warning"] == ["memory"]


@pytest.mark.parametrize(
    ("mine", "theirs", "status", "code"),
    [
        (OPTIONS.max_concurrency_of_team, 0, 429, "rate_limit_exceeded"),
        (1, OPTIONS.max_concurrency - 1, 503, "overloaded"),
    ],
)
async def test_a_request_over_the_concurrency_limit_is_refused_and_not_counted(
    customer: Customer, mine: int, theirs: int, status: int, code: str
) -> None:
    concurrency, team = customer.app.state.completions.concurrency, customer.team.id
    for each in [team] * mine + [uuid4() for _ in range(theirs)]:
        concurrency.take(each)
    response = await customer.post()
    assert refusal(response) == (status, None, code)
    assert response.headers["retry-after"] == "1"
    concurrency.free(team)
    left = (await customer.post()).headers["x-ratelimit-remaining-requests"]
    assert left == str(domain.Config().limits.requests - 1)
