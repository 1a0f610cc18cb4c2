"""The backend that hands requests on, before servers that misbehave."""

import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing, nullcontext
from dataclasses import replace
from typing import Any

import httpx2
import pytest

from gateway import domain, errors
from gateway.adapters.openai import ATTEMPTS, FINISH_REASONS, OpenAIBackend
from gateway.ports import Chunk, Inference, Message

KEY = "sk-secret"
CHAT = ({"role": "user", "content": "Hi."},)
USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}

Serve = Callable[[httpx2.Request], httpx2.Response]


def backend(serve: Serve) -> OpenAIBackend:
    client = httpx2.AsyncClient(
        transport=httpx2.MockTransport(serve),
        base_url="http://upstream/v1",
        headers={"Authorization": f"Bearer {KEY}"},
    )
    return OpenAIBackend(client)


def asked(prompt: str | Sequence[Message] = CHAT, **parameters: object) -> Inference:
    return Inference(model="m", prompt=prompt, max_tokens=7, parameters=parameters)


def answer(content: Any = "Hello.", reason: Any = "stop", **rest: Any) -> dict[str, Any]:
    said = {"role": "assistant", "content": content}
    return {"choices": [{"index": 0, "message": said, "finish_reason": reason}], **rest}


def piece(content: Any = None, reason: Any = None, index: int = 0, **rest: Any) -> bytes:
    choice = {"index": index, "delta": {"content": content}, "finish_reason": reason}
    return event(json.dumps({"choices": [choice], **rest}))


def event(data: str) -> bytes:
    return f"data: {data}\n\n".encode()


DONE = event("[DONE]")


def answering(value: Any, status: int = 200, retry: str = "") -> Serve:
    content = value if isinstance(value, bytes) else json.dumps(value)
    headers = {"Retry-After": retry} if retry else {}
    return lambda _: httpx2.Response(status, headers=headers, content=content)


def streaming(*parts: bytes | Exception, type_: str = "text/event-stream") -> Serve:
    async def body() -> AsyncIterator[bytes]:
        for part in parts:
            if isinstance(part, Exception):
                raise part
            yield part

    return lambda _: httpx2.Response(200, headers={"Content-Type": type_}, content=body())


def failing(error: Exception) -> Serve:
    def serve(_: httpx2.Request) -> httpx2.Response:
        raise error

    return serve


async def pieces(backend: OpenAIBackend, inference: Inference) -> list[Chunk]:
    return [chunk async for chunk in backend.stream(inference)]


TOLD = {"error": {"message": f"openai: {KEY}"}}
MOVED = {"Location": f"http://else/?{KEY}"}
AWAY, BAD = errors.UnavailableError, errors.BackendError
LIMITED, WRONG = errors.ThrottledError, errors.RefusedError
# What the server does, whoever asks: what is raised, and what that says of asking again.
FAILURES: dict[str, tuple[Serve, type[errors.ServiceError], dict[str, object]]] = {
    "refuses connections": (failing(httpx2.ConnectError(KEY)), AWAY, {}),
    "lets one wait to connect": (failing(httpx2.ConnectTimeout(KEY)), AWAY, {}),
    "lets one wait for the answer": (failing(httpx2.ReadTimeout(KEY)), AWAY, {}),
    "has no connection left": (failing(httpx2.PoolTimeout(KEY)), AWAY, {}),
    "hangs up": (failing(httpx2.RemoteProtocolError(KEY)), AWAY, {}),
    "hangs up before it says anything": (streaming(httpx2.ReadError(KEY)), AWAY, {}),
    "sends what is no HTTP": (failing(httpx2.DecodingError(KEY)), BAD, {"final": False}),
    "limits us": (answering(TOLD, 429, "20"), LIMITED, {"retry_after": 20}),
    "limits us until a date": (answering(TOLD, 429, "soon"), LIMITED, {"retry_after": 1}),
    "is overloaded": (answering(TOLD, 503, "7"), AWAY, {"retry_after": 7}),
    "is behind a proxy, and gone": (answering(KEY, 502), AWAY, {"retry_after": 1}),
    "is behind a proxy, and slow": (answering(KEY, 504), AWAY, {"retry_after": 1}),
    "crashes": (answering(TOLD, 500), BAD, {"final": False}),
    "finds the request wrong": (answering(TOLD, 400), WRONG, {}),
    "finds the request wrong, in HTML": (answering(b"<html>", 413), WRONG, {}),
    "does not know our key": (answering(TOLD, 401), BAD, {"final": True}),
    "has no such model": (answering(TOLD, 404), BAD, {"final": True}),
    "is elsewhere": (lambda _: httpx2.Response(307, headers=MOVED), BAD, {"final": True}),
}
# What it says in place of a whole answer: all of it is a BackendError.
GARBAGE: dict[str, bytes] = {
    "nothing": b"",
    "HTML": f"<html>{KEY}</html>".encode(),
    "half an answer": json.dumps(answer(KEY)).encode()[:-9],
    "no UTF-8": b'{"choices": "\xff"}',
    "another type": b"[1, 2]",
    "an error with status 200": json.dumps({"error": {"message": KEY}}).encode(),
    "no choice": b'{"choices": []}',
    "no end": json.dumps(answer(KEY, None)).encode(),
    "a text that is none": json.dumps(answer([KEY])).encode(),
    "an impossible usage": json.dumps(answer(usage={**USAGE, "prompt_tokens": -1})).encode(),
}
# What it streams: all of it is a BackendError, after the pieces that are good.
BROKEN: dict[str, tuple[list[str], Serve]] = {
    "no stream": ([], streaming(json.dumps(answer(KEY)).encode(), type_="application/json")),
    "nothing but the end": ([], streaming(DONE)),
    "no end": (["a", "b"], streaming(piece("a"), piece("b"))),
    "the end too early": (["a"], streaming(piece("a"), DONE)),
    "half an event": (["a"], streaming(piece("a"), piece("b", "stop")[:-9])),
    "no JSON": (["a"], streaming(piece("a"), event(f"<{KEY}>"), DONE)),
    "an error": (["a"], streaming(piece("a"), event(f'{{"error": {{"message": "{KEY}"}}}}'))),
    "a reset": (["a"], streaming(piece("a"), httpx2.ReadError(KEY))),
    "a pause for too long": (["a"], streaming(piece("a"), httpx2.ReadTimeout(KEY))),
}


@pytest.mark.parametrize(("serve", "error", "told"), FAILURES.values(), ids=FAILURES.keys())
async def test_a_server_that_fails(
    serve: Serve, error: type[errors.ServiceError], told: dict[str, object]
) -> None:
    for ask in (OpenAIBackend.complete, pieces):
        with pytest.raises(error) as caught:
            await ask(backend(serve), asked())
        assert "openai" in str(caught.value)
        assert KEY not in str(caught.value)
        assert {name: getattr(caught.value, name) for name in told} == told


@pytest.mark.parametrize("content", GARBAGE.values(), ids=GARBAGE.keys())
async def test_a_server_that_says_no_completion(content: bytes) -> None:
    with pytest.raises(errors.BackendError, match="openai failed") as caught:
        await backend(answering(content)).complete(asked())
    assert KEY not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(("good", "serve"), BROKEN.values(), ids=BROKEN.keys())
async def test_a_stream_that_breaks_off_is_good_until_then(good: list[str], serve: Serve) -> None:
    chunks = backend(serve).stream(asked())
    assert [(await anext(chunks)).text for _ in good] == good
    with pytest.raises(errors.BackendError, match="openai failed") as caught:
        await anext(chunks)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    ("error", "replaced"),
    [
        (httpx2.RemoteProtocolError("closed"), True),
        (httpx2.ReadError("reset"), True),
        (httpx2.ConnectError("refused"), False),
        (httpx2.ReadTimeout("slow"), False),
    ],
)
async def test_a_closed_connection_alone_is_replaced(error: Exception, *, replaced: bool) -> None:
    requests = []

    def serve(request: httpx2.Request) -> httpx2.Response:
        requests.append(request)
        return (failing(error) if len(requests) < ATTEMPTS else answering(answer()))(request)

    with nullcontext() if replaced else pytest.raises(errors.UnavailableError):
        assert (await backend(serve).complete(asked())).choices[0].text == "Hello."
    assert len(requests) == (ATTEMPTS if replaced else 1)


OURS = {"model": "x", "max_tokens": 999, "messages": [], "stream": False, "stream_options": {}}
MANY = {"n": 9, "best_of": 9, "max_completion_tokens": 999}
MESSAGES = [{"role": "user", "content": "Hi."}]
# What is asked for, and the body that the server gets, beside the model and whether it streams.
BODIES: list[tuple[Inference, dict[str, Any]]] = [
    (asked(temperature=0.5), {"messages": MESSAGES, "max_tokens": 7, "temperature": 0.5}),
    (asked("Once", stop=["."]), {"prompt": "Once", "max_tokens": 7, "stop": ["."]}),
    # Parameters neither replace what was asked nor multiply it.
    (replace(asked(), parameters=OURS | MANY), {"messages": MESSAGES, "max_completion_tokens": 7}),
    (replace(asked(), n=2), {"messages": MESSAGES, "max_tokens": 7, "n": 2}),
    # No limit is invented.
    (replace(asked(), max_tokens=None), {"messages": MESSAGES}),
    *((asked(text), {"prompt": text, "max_tokens": 7}) for text in ("世界 👩‍🚀", "\ud800", "\0")),
]


@pytest.mark.parametrize(("inference", "body"), BODIES)
async def test_the_server_is_sent_what_is_asked(inference: Inference, body: dict[str, Any]) -> None:
    paths = {"prompt": "/v1/completions", "messages": "/v1/chat/completions"}
    stream, seen = False, []

    def serve(request: httpx2.Request) -> httpx2.Response:
        assert request.headers["content-type"] == "application/json"
        assert request.headers["authorization"] == f"Bearer {KEY}"
        assert request.url.path == paths[next(name for name in paths if name in body)]
        seen.append(json.loads(request.content))
        ends = [piece("a", "stop", index=index) for index in range(inference.n)]
        return (streaming(*ends, DONE) if stream else answering(answer()))(request)

    await backend(serve).complete(inference)
    stream = True
    await pieces(backend(serve), inference)
    whole = {**body, "model": "m", "stream": False}
    streamed = whole | {"stream": True, "stream_options": {"include_usage": True}}
    assert seen == [whole, streamed]


@pytest.mark.parametrize(
    ("told", "reason"),
    [*((reason, reason) for reason in FINISH_REASONS), ("eos", "stop")],
)
async def test_a_reason_to_end_is_passed_on_if_clients_know_it(told: str, reason: str) -> None:
    whole = await backend(answering(answer("a", told, usage=USAGE))).complete(asked())
    assert (whole.choices[0].finish_reason, whole.usage) == (reason, domain.Usage(3, 2))
    *_, last = await pieces(backend(streaming(piece("a", told), DONE)), asked())
    assert last.finish_reason == reason


@pytest.mark.parametrize(
    "parts",
    [
        (piece("a"), piece("b", "stop"), piece(usage=USAGE), DONE),
        (piece("a"), piece("b", "stop", usage=USAGE), DONE),
        (piece("a"), piece("b", "stop"), event(json.dumps({"choices": [], "usage": USAGE}))),
        (piece("a", usage=None), b": still at it\n\n", piece("b"), piece("", "stop", usage=USAGE)),
        (piece(), piece("a"), piece("b"), piece(None, "stop", usage=USAGE), DONE),
        (piece("a").replace(b"\n", b"\r\n"), piece("b", "stop", usage=USAGE), DONE),
    ],
    ids=["as OpenAI", "as llama.cpp", "without DONE", "with comments", "with nulls", "with CRLF"],
)
@pytest.mark.parametrize("size", [1, 7, 1_000_000])
async def test_a_stream_may_have_any_shape(parts: tuple[bytes, ...], size: int) -> None:
    whole = b"".join(parts)
    cut = [whole[start : start + size] for start in range(0, len(whole), size)]
    chunks = await pieces(backend(streaming(*cut)), asked())
    assert chunks == [Chunk("a"), Chunk("b"), Chunk("", "stop", domain.Usage(3, 2))]


async def test_of_a_server_that_does_not_count_the_pieces_are_counted() -> None:
    asking = backend(streaming(piece(""), piece("a"), piece("b"), piece("", "stop"), DONE))
    *_, last = await pieces(asking, asked())
    assert last.usage == domain.Usage(asking.tokens_at_most(asked()), 2)


@pytest.mark.parametrize(
    ("text", "most", "made"), [("a b", 7, 3), ("a" * 100, 7, 7), ("a" * 100, None, 100)]
)
async def test_an_uncounted_answer_counts_the_most(text: str, most: int | None, made: int) -> None:
    inference = replace(asked(), max_tokens=most)
    whole = await backend(answering(answer(text))).complete(inference)
    assert whole.usage.completion_tokens == made


async def test_whoever_leaves_early_closes_the_response() -> None:
    responses = []

    def serve(request: httpx2.Request) -> httpx2.Response:
        responses.append(streaming(piece("a"), piece("b"), piece("c", "stop"), DONE)(request))
        return responses[-1]

    async with aclosing(backend(serve).stream(asked())) as chunks:
        assert await anext(chunks) == Chunk("a")
        assert [response.is_closed for response in responses] == [False]
    assert [response.is_closed for response in responses] == [True]


@pytest.mark.parametrize(
    ("error", "told"),
    [
        ({"message": "too long", "param": "messages", "code": "x"}, ("too long", "messages", "x")),
        ({"message": "bad", "code": 400, "type": "y"}, ("bad", None, None)),
        ({"message": f"of {KEY} " + "x" * 999}, (f"of ... {'x' * 493}", None, None)),
    ],
)
async def test_why_the_server_finds_a_request_wrong_is_repeated(
    error: dict[str, object], told: tuple[str, str | None, str | None]
) -> None:
    with pytest.raises(errors.RefusedError) as caught:
        await backend(answering({"error": error}, 400)).complete(asked())
    assert (str(caught.value), caught.value.field, caught.value.code) == told


CALL = {"index": 0, "id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}


async def test_what_else_a_model_says_is_passed_on() -> None:
    likely: dict[str, Any] = {"content": []}
    said = {"role": "assistant", "content": None, "refusal": None, "tool_calls": [CALL]}
    choices = [
        {"index": number, "message": said, "logprobs": likely, "finish_reason": "tool_calls"}
        for number in range(2)
    ]
    whole = await backend(answering({"choices": choices, "usage": USAGE})).complete(asked(n=2))
    more = {"tool_calls": [CALL]}
    assert whole.choices == [
        Chunk("", "tool_calls", None, number, more, likely) for number in range(2)
    ]
    deltas = [
        {"index": number, "delta": said, "finish_reason": reason}
        for reason in (None, "tool_calls")
        for number in (1, 0)
    ]
    parts = [event(json.dumps({"choices": [delta]})) for delta in deltas]
    inference = replace(asked(), n=2)
    chunks = await pieces(backend(streaming(*parts, piece(usage=USAGE), DONE)), inference)
    assert [(chunk.index, chunk.more, chunk.finish_reason) for chunk in chunks] == [
        *((number, more, None) for number in (1, 0, 1, 0)),
        (0, None, "tool_calls"),
        (1, None, "tool_calls"),
    ]
    assert [chunk.usage for chunk in chunks] == [*[None] * 5, domain.Usage(3, 2)]
    with pytest.raises(errors.BackendError, match="broke off"):
        await pieces(backend(streaming(*parts[:3], DONE)), inference)


async def test_all_that_the_model_reads_is_part_of_the_bound() -> None:
    asking = backend(answering(answer()))
    bound = asking.tokens_at_most(asked())
    for text in ("世界 👩‍🚀", "\ud800", "\0"):
        size = len(text.encode("utf-8", "surrogatepass"))
        assert asking.tokens_at_most(asked(text)) >= size
    tools = [{"type": "function", "function": {"name": "f", "description": "x" * 1000}}]
    assert asking.tokens_at_most(asked(tools=tools)) > bound + 1000
    url = "data:image/png;base64," + "x" * 1_000_000
    picture = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}
    assert bound < asking.tokens_at_most(asked((picture,))) < 10_000
