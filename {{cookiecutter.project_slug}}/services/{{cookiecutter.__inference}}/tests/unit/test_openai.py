"""The backend for OpenAI's API, with servers that misbehave."""

import json
import traceback
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing, nullcontext
from dataclasses import replace
from typing import Any

import httpx2
import pytest

from gateway import domain, errors
from gateway.adapters.openai import ATTEMPTS, FINISH_REASONS, OpenAIBackend
from gateway.api.streaming import DONE
from gateway.ports import Chunk, Inference, Message

KEY = "sk-secret"
CHAT = ({"role": "user", "content": "Hi."},)
USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}

Object = dict[str, Any]
Serve = Callable[[httpx2.Request], httpx2.Response]


def event(value: object) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def backend(serve: Serve) -> OpenAIBackend:
    client = httpx2.AsyncClient(
        transport=httpx2.MockTransport(serve),
        base_url="http://upstream/v1",
        headers={"Authorization": f"Bearer {KEY}"},
    )
    return OpenAIBackend(client)


def asked(prompt: str | Sequence[Message] = CHAT, **parameters: object) -> Inference:
    return Inference(model="m", prompt=prompt, max_tokens=7, parameters=parameters)


def answer(content: Any = "Hello.", reason: Any = "stop", **rest: Any) -> Object:
    said = {"role": "assistant", "content": content}
    return {"choices": [{"index": 0, "message": said, "finish_reason": reason}], **rest}


def piece(content: Any = None, reason: Any = None, index: int = 0, **rest: Any) -> bytes:
    choice = {"index": index, "delta": {"content": content}, "finish_reason": reason}
    return event({"choices": [choice], **rest})


def answering(value: Any, status: int = 200, retry: str = "") -> Serve:
    # Redirects are not followed.
    headers = {"Retry-After": retry, "Location": f"http://else/?{KEY}"}

    def serve(_: httpx2.Request) -> httpx2.Response:
        if isinstance(value, Exception):
            raise value
        content = value if isinstance(value, bytes) else json.dumps(value)
        return httpx2.Response(status, headers=headers, content=content)

    return serve


def refusing(message: str, **more: object) -> Serve:
    return answering({"error": {"message": f"openai: {message}", **more}}, 400)


def streaming(*parts: bytes | Exception, type_: str = "text/event-stream") -> Serve:
    async def body() -> AsyncIterator[bytes]:
        for part in parts:
            if isinstance(part, Exception):
                raise part
            yield part

    return lambda _: httpx2.Response(200, headers={"Content-Type": type_}, content=body())


async def pieces(backend: OpenAIBackend, inference: Inference) -> list[Chunk]:
    return [chunk async for chunk in backend.stream(inference)]


LONG = "openai: " + "x" * 492
TOLD = {"error": {"message": f"openai: {KEY}"}}
AWAY, BAD = errors.UnavailableError, errors.BackendError
LIMITED, WRONG = errors.ThrottledError, errors.RefusedError
# Faults of the server: the error that is raised, and its attributes.
FAILURES: dict[str, tuple[Serve, type[errors.ServiceError], Object]] = {
    "refuses connections": (answering(httpx2.ConnectError(KEY)), AWAY, {}),
    "does not respond in time": (answering(httpx2.ReadTimeout(KEY)), AWAY, {}),
    "has no free connection": (answering(httpx2.PoolTimeout(KEY)), AWAY, {}),
    "closes the connection": (answering(httpx2.RemoteProtocolError(KEY)), AWAY, {}),
    "breaks off before the first chunk": (streaming(httpx2.ReadError(KEY)), AWAY, {}),
    "sends invalid HTTP": (answering(httpx2.DecodingError(KEY)), BAD, {"final": False}),
    "throttles": (answering(TOLD, 429, "20"), LIMITED, {"retry_after": 20}),
    "throttles until a date": (answering(TOLD, 429, "soon"), LIMITED, {"retry_after": 1}),
    "is overloaded": (answering(TOLD, 503, "7"), AWAY, {"retry_after": 7}),
    "is down behind a proxy": (answering(KEY, 502), AWAY, {"retry_after": 1}),
    "is slow behind a proxy": (answering(KEY, 504), AWAY, {"retry_after": 1}),
    "crashes": (answering(TOLD, 500), BAD, {"final": False}),
    "refuses the request": (refusing(KEY), WRONG, {"args": ("openai: ...",)}),
    "refuses a field": (refusing("", param="n", code="x"), WRONG, {"field": "n", "code": "x"}),
    "refuses at length": (refusing("x" * 999, code=7), WRONG, {"args": (LONG,), "code": None}),
    "refuses in HTML": (answering(b"<html>", 413), WRONG, {}),
    "rejects the key": (answering(TOLD, 401), BAD, {"final": True}),
    "does not have the model": (answering(TOLD, 404), BAD, {"final": True}),
    "redirects": (answering(TOLD, 307), BAD, {"final": True}),
}
# Bodies in place of a whole response: each raises BackendError.
GARBAGE: dict[str, Any] = {
    "nothing": b"",
    "HTML": f"<html>{KEY}</html>".encode(),
    "half a response": json.dumps(answer(KEY)).encode()[:-9],
    "invalid UTF-8": b'{"choices": "\xff"}',
    "another type": [1, 2],
    "an error with status 200": {"error": {"message": KEY}},
    "no choices": {"choices": []},
    "no finish reason": answer(KEY, None),
    "content that is not a text": answer([KEY]),
    "a negative usage": answer(usage={**USAGE, "prompt_tokens": -1}),
}
# Broken streams: each raises BackendError after its valid chunks.
BROKEN: dict[str, tuple[list[str], Serve]] = {
    "not a stream": ([], streaming(json.dumps(answer(KEY)).encode(), type_="application/json")),
    "nothing but the end": ([], streaming(DONE)),
    "no finish reason and no end": (["a", "b"], streaming(piece("a"), piece("b"))),
    "the end without a finish reason": (["a"], streaming(piece("a"), DONE)),
    "half an event": (["a"], streaming(piece("a"), piece("b", "stop")[:-9])),
    "an error": (["a"], streaming(piece("a"), event({"error": {"message": KEY}}))),
    "a reset": (["a"], streaming(piece("a"), httpx2.ReadError(KEY))),
    "a timeout": (["a"], streaming(piece("a"), httpx2.ReadTimeout(KEY))),
}


@pytest.mark.parametrize(("serve", "error", "told"), FAILURES.values(), ids=FAILURES.keys())
async def test_a_failure_says_whether_to_retry_and_reveals_no_secret(
    serve: Serve, error: type[errors.ServiceError], told: Object
) -> None:
    for ask in (OpenAIBackend.complete, pieces):
        with pytest.raises(error) as caught:
            await ask(backend(serve), asked())
        assert "openai" in str(caught.value)
        assert KEY not in str(caught.value)
        assert {name: getattr(caught.value, name) for name in told} == told


@pytest.mark.parametrize("content", GARBAGE.values(), ids=GARBAGE.keys())
async def test_a_response_that_is_not_a_completion_raises_and_is_not_quoted(content: Any) -> None:
    with pytest.raises(errors.BackendError, match="openai failed") as caught:
        await backend(answering(content)).complete(asked())
    # Nor by an error that caused it.
    assert KEY not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(("good", "serve"), BROKEN.values(), ids=BROKEN.keys())
async def test_a_broken_stream_yields_its_chunks_then_raises(good: list[str], serve: Serve) -> None:
    chunks = backend(serve).stream(asked())
    assert [(await anext(chunks)).text for _ in good] == good
    with pytest.raises(errors.BackendError, match="openai failed") as caught:
        await anext(chunks)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    ("error", "sent"),
    [
        (httpx2.RemoteProtocolError("closed"), ATTEMPTS),
        (httpx2.ReadError("reset"), ATTEMPTS),
        (httpx2.ConnectError("refused"), 1),
        (httpx2.ReadTimeout("slow"), 1),
    ],
)
async def test_only_requests_on_closed_connections_are_retried(error: Exception, sent: int) -> None:
    requests = []

    def serve(request: httpx2.Request) -> httpx2.Response:
        requests.append(request)
        return answering(error if len(requests) < ATTEMPTS else answer())(request)

    with nullcontext() if sent == ATTEMPTS else pytest.raises(errors.UnavailableError):
        assert (await backend(serve).complete(asked())).choices[0].text == "Hello."
    assert len(requests) == sent


OURS = {"model": "x", "max_tokens": 999, "messages": [], "stream": False, "stream_options": {}}
MANY = {"n": 9, "best_of": 9, "max_completion_tokens": 999}
MESSAGES = [{"role": "user", "content": "Hi."}]
# Requests, and the body that the server receives, without `model` and `stream`.
BODIES: list[tuple[Inference, Object]] = [
    (asked(temperature=0.5), {"messages": MESSAGES, "max_tokens": 7, "temperature": 0.5}),
    (asked("Once", stop=["."]), {"prompt": "Once", "max_tokens": 7, "stop": ["."]}),
    # Parameters can neither override the request nor multiply it.
    (replace(asked(), parameters=OURS | MANY), {"messages": MESSAGES, "max_completion_tokens": 7}),
    (replace(asked(), n=2), {"messages": MESSAGES, "max_tokens": 7, "n": 2}),
    # Without a limit, none is sent.
    (replace(asked(), max_tokens=None), {"messages": MESSAGES}),
    (asked("世界\0"), {"prompt": "世界\0", "max_tokens": 7}),
]


@pytest.mark.parametrize(("inference", "body"), BODIES)
async def test_requests_are_sent_in_openais_format(inference: Inference, body: Object) -> None:
    seen = []

    def serve(request: httpx2.Request) -> httpx2.Response:
        assert request.headers["content-type"] == "application/json"
        assert request.headers["authorization"] == f"Bearer {KEY}"
        seen.append((request.url.path, json.loads(request.content)))
        ends = [piece("a", "stop", index=index) for index in range(inference.n)]
        stream = seen[-1][1]["stream"]
        return (streaming(*ends, DONE) if stream else answering(answer()))(request)

    await backend(serve).complete(inference)
    await pieces(backend(serve), inference)
    path = "/v1/completions" if "prompt" in body else "/v1/chat/completions"
    whole = {**body, "model": "m", "stream": False}
    streamed = {**whole, "stream": True, "stream_options": {"include_usage": True}}
    assert seen == [(path, whole), (path, streamed)]


@pytest.mark.parametrize("told", [*FINISH_REASONS, "eos"])
async def test_a_finish_reason_is_passed_on_if_clients_know_it(told: str) -> None:
    reason = told if told in FINISH_REASONS else "stop"
    whole = await backend(answering(answer("a", told, usage=USAGE))).complete(asked())
    assert (whole.choices[0].finish_reason, whole.usage) == (reason, domain.Usage(3, 2))
    *_, last = await pieces(backend(streaming(piece("a", told), DONE)), asked())
    assert last.finish_reason == reason


@pytest.mark.parametrize(
    "parts",
    [
        (piece("a"), piece("b", "stop"), piece(usage=USAGE), DONE),
        (piece("a"), piece("b", "stop", usage=USAGE), DONE),
        (piece("a"), piece("b", "stop"), event({"choices": [], "usage": USAGE})),
        (piece("a", usage=None), b": still at it\n\n", piece("b"), piece("", "stop", usage=USAGE)),
        (piece(), piece("a"), piece("b"), piece(None, "stop", usage=USAGE), DONE),
        (piece("a").replace(b"\n", b"\r\n"), piece("b", "stop", usage=USAGE), DONE),
    ],
    ids=["as OpenAI", "as llama.cpp", "without DONE", "with comments", "with nulls", "with CRLF"],
)
@pytest.mark.parametrize("size", [1, 7, 1_000_000])
async def test_streams_of_every_shape_are_parsed_alike(parts: tuple[bytes, ...], size: int) -> None:
    whole = b"".join(parts)
    cut = [whole[start : start + size] for start in range(0, len(whole), size)]
    chunks = await pieces(backend(streaming(*cut)), asked())
    assert chunks == [Chunk("a"), Chunk("b"), Chunk("", "stop", domain.Usage(3, 2))]


async def test_without_usage_from_the_server_an_upper_bound_is_counted() -> None:
    prompt = backend(answering(answer())).tokens_at_most(asked())
    asking = backend(streaming(piece(""), piece("a"), piece("b"), piece("", "stop"), DONE))
    *_, last = await pieces(asking, asked())
    assert last.usage == domain.Usage(prompt, 2)
    for text, most, made in (("a b", 7, 3), ("a" * 100, 7, 7), ("a" * 100, None, 100)):
        inference = replace(asked(), max_tokens=most)
        whole = await backend(answering(answer(text))).complete(inference)
        assert whole.usage == domain.Usage(prompt, made)


async def test_leaving_a_stream_early_closes_the_response() -> None:
    response = streaming(piece("a"), piece("b", "stop"), DONE)(httpx2.Request("POST", "/"))
    async with aclosing(backend(lambda _: response).stream(asked())) as chunks:
        assert (await anext(chunks), response.is_closed) == (Chunk("a"), False)
    assert response.is_closed


CALLS = {"tool_calls": [{"index": 0, "id": "1", "type": "function", "function": {"name": "f"}}]}


async def test_tool_calls_and_log_probabilities_are_passed_on() -> None:
    likely: Object = {"content": []}
    said = {"role": "assistant", "content": None, "refusal": None, **CALLS}
    end = {"message": said, "logprobs": likely, "finish_reason": "tool_calls"}
    choices = [{"index": number, **end} for number in range(2)]
    whole = await backend(answering({"choices": choices})).complete(asked())
    assert whole.choices == [Chunk("", "tool_calls", None, n, CALLS, likely) for n in range(2)]


async def test_choices_are_streamed_in_any_order_and_each_must_finish() -> None:
    parts = [
        event({"choices": [{"index": number, "delta": CALLS, "finish_reason": reason}]})
        for reason in (None, "tool_calls")
        for number in (1, 0)
    ]
    inference = replace(asked(), n=2)
    assert await pieces(backend(streaming(*parts, piece(usage=USAGE), DONE)), inference) == [
        *(Chunk("", index=number, more=CALLS) for number in (1, 0, 1, 0)),
        Chunk("", "tool_calls", None, 0),
        Chunk("", "tool_calls", domain.Usage(3, 2), 1),
    ]
    with pytest.raises(errors.BackendError, match="broke off"):
        await pieces(backend(streaming(*parts[:3], DONE)), inference)


async def test_the_bound_of_a_prompt_covers_text_tools_and_pictures() -> None:
    asking = backend(answering(answer()))
    bound = asking.tokens_at_most(asked())
    for text in ("世界 👩‍🚀", "\0"):
        assert asking.tokens_at_most(asked(text)) >= len(text.encode())
    tools = [{"type": "function", "function": {"name": "f", "description": "x" * 1000}}]
    assert asking.tokens_at_most(asked(tools=tools)) > bound + 1000
    url = "data:image/png;base64," + "x" * 1_000_000
    picture = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}
    assert bound < asking.tokens_at_most(asked((picture,))) < 10_000
