"""The contract of `InferenceBackend`: the one without a model, and the one that hands requests on.

The server to which it hands them says what the first does, in OpenAI's shape.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from json import loads

import httpx2
import pytest

from gateway.adapters.echo import EchoBackend, EchoSettings
from gateway.adapters.openai import OpenAIBackend
from gateway.api import json, streaming
from gateway.api.schemas.completion_responses import ChatEncoder, TextEncoder
from gateway.ports import Chunk, Inference, InferenceBackend, Message

from ..fakes.clock import MemoryClock

ECHO = EchoBackend(MemoryClock(), EchoSettings())


async def upstream(request: httpx2.Request) -> httpx2.Response:
    """Answer as a server with OpenAI's API does."""
    if request.method == "GET":
        return httpx2.Response(200, json={"data": []})
    body = loads(request.content)
    prompt = body.get("prompt", body.get("messages"))
    limit = body.get("max_completion_tokens", body.get("max_tokens"))
    inference = Inference(model="tiny", prompt=prompt, max_tokens=limit, parameters=body)
    kind = ChatEncoder if "messages" in body else TextEncoder
    encoder = kind(body["model"], 0, include_usage=True)
    if not body["stream"]:
        whole = encoder.whole(await ECHO.complete(inference))
        return httpx2.Response(200, content=json.encode(whole))
    events = [encoder.events(chunk) async for chunk in ECHO.stream(inference)]
    headers = {"Content-Type": streaming.MEDIA_TYPE}
    return httpx2.Response(200, headers=headers, content=b"".join([*events, streaming.DONE]))


@pytest.fixture(params=["echo", "openai"])
async def backend(request: pytest.FixtureRequest) -> AsyncIterator[InferenceBackend]:
    """Each of them."""
    transport = httpx2.MockTransport(upstream)
    async with httpx2.AsyncClient(transport=transport, base_url="http://upstream/v1") as client:
        yield ECHO if request.param == "echo" else OpenAIBackend(client)


# Enough words that no answer ends before it has as many tokens as are asked for here.
WORDS = " ".join(f"word{number}" for number in range(40))
PROMPTS = {
    "text": WORDS,
    "chat": ({"role": "system", "content": "Be brief."}, {"role": "user", "content": WORDS}),
    "history": (
        {"role": "user", "content": "Hi."},
        {"role": "assistant", "content": "Hello."},
        {"role": "user", "content": WORDS},
    ),
    "unicode": f"héllo 世界 👩‍🚀 \u0301 \ufeff {WORDS}",
    "controls": f"a\tb\r\nc\0d\x1b {WORDS}",
    "empty text": "",
    "blank text": " \n",
    "empty chat": ({"role": "user", "content": ""},),
}
every_prompt = pytest.mark.parametrize("prompt", PROMPTS.values(), ids=PROMPTS.keys())


def asked(
    prompt: str | Sequence[Message] = WORDS,
    max_tokens: int = 8,
    **parameters: object,
) -> Inference:
    return Inference(
        model="tiny",
        prompt=prompt,
        max_tokens=max_tokens,
        parameters={"temperature": 0, **parameters},
    )


async def pieces(backend: InferenceBackend, inference: Inference) -> list[Chunk]:
    return [chunk async for chunk in backend.stream(inference)]


@every_prompt
async def test_the_pieces_of_a_stream_are_the_whole_answer(
    backend: InferenceBackend,
    prompt: str | Sequence[Message],
) -> None:
    whole = await backend.complete(asked(prompt))
    chunks = await pieces(backend, asked(prompt))
    assert "".join(chunk.text for chunk in chunks) == whole.choices[0].text
    assert (chunks[-1].finish_reason, chunks[-1].usage) == (
        whole.choices[0].finish_reason,
        whole.usage,
    )


@every_prompt
async def test_the_last_piece_alone_has_the_reason_and_the_usage(
    backend: InferenceBackend,
    prompt: str | Sequence[Message],
) -> None:
    *others, last = await pieces(backend, asked(prompt))
    assert all(chunk == Chunk(chunk.text) for chunk in others)
    assert last.finish_reason in {"stop", "length"}
    assert last.usage


@every_prompt
async def test_a_prompt_has_no_more_tokens_than_its_bound(
    backend: InferenceBackend,
    prompt: str | Sequence[Message],
) -> None:
    whole = await backend.complete(asked(prompt, max_tokens=1))
    assert whole.usage.prompt_tokens <= backend.tokens_at_most(asked(prompt))


async def test_usage_adds_up(backend: InferenceBackend) -> None:
    usage = (await backend.complete(asked())).usage
    assert usage.prompt_tokens > 0
    assert usage.total == usage.prompt_tokens + usage.completion_tokens


async def test_a_longer_prompt_has_more_tokens(backend: InferenceBackend) -> None:
    shorter = await backend.complete(asked(WORDS))
    longer = await backend.complete(asked(WORDS * 2))
    assert longer.usage.prompt_tokens > shorter.usage.prompt_tokens


@pytest.mark.parametrize("max_tokens", [1, 2, 20])
async def test_an_answer_ends_at_max_tokens(backend: InferenceBackend, max_tokens: int) -> None:
    whole = await backend.complete(asked(max_tokens=max_tokens))
    assert (whole.usage.completion_tokens, whole.choices[0].finish_reason) == (max_tokens, "length")


async def test_no_parameter_makes_an_answer_longer_than_max_tokens(
    backend: InferenceBackend,
) -> None:
    more = {"max_tokens": 9, "max_completion_tokens": 9, "n_predict": 9, "n": 2, "n_cmpl": 2}
    inference = Inference(model="tiny", prompt=WORDS, max_tokens=3, parameters=more)
    assert (await backend.complete(inference)).usage.completion_tokens == 3


async def test_the_same_question_has_the_same_answer(backend: InferenceBackend) -> None:
    answers = [await backend.complete(asked(max_tokens=20)) for _ in range(5)]
    assert all(answer == answers[0] for answer in answers)


async def test_another_question_has_another_answer(backend: InferenceBackend) -> None:
    one = await backend.complete(asked(WORDS, max_tokens=20))
    other = await backend.complete(asked(f"why {WORDS}", max_tokens=20))
    assert one.choices != other.choices


async def test_an_answer_can_go_on_to_max_tokens_whatever_the_question(
    backend: InferenceBackend,
) -> None:
    whole = await backend.complete(asked("short", max_tokens=50, ignore_eos=True))
    assert (whole.usage.completion_tokens, whole.choices[0].finish_reason) == (50, "length")


async def test_many_ask_at_once_and_each_gets_its_own_answer(backend: InferenceBackend) -> None:
    questions = [asked(f"{number} {WORDS}") for number in range(20)]
    alone = [(await backend.complete(question)).choices[0].text for question in questions]
    wholes = asyncio.gather(*(backend.complete(question) for question in questions))
    streams = asyncio.gather(*(pieces(backend, question) for question in questions))
    assert [whole.choices[0].text for whole in await wholes] == alone
    assert ["".join(chunk.text for chunk in chunks) for chunks in await streams] == alone


async def test_a_stream_may_be_left_early_or_before_it_begins(backend: InferenceBackend) -> None:
    whole = await backend.complete(asked())
    for _ in range(20):
        async with aclosing(backend.stream(asked())):
            pass
        async with aclosing(backend.stream(asked())) as chunks:
            assert whole.choices[0].text.startswith((await anext(chunks)).text)
        with pytest.raises(StopAsyncIteration):
            await anext(chunks)
    assert await backend.complete(asked()) == whole


async def test_a_backend_that_is_there_answers(backend: InferenceBackend) -> None:
    await backend.ping()
