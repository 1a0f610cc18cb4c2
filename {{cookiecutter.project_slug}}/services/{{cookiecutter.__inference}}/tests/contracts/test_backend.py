"""The contract of `InferenceBackend`: the one without a model, and the one that hands requests on.

The server to which it hands them says what the first does, in OpenAI's shape.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any

import httpx2
import pytest

from gateway.adapters.echo import EchoBackend, EchoSettings
from gateway.adapters.openai import OpenAIBackend
from gateway.api import answers, streaming
from gateway.api.schemas.completion_responses import ChatEncoder, TextEncoder
from gateway.ports import Chunk, Inference, InferenceBackend, Message

from ..fakes.clock import MemoryClock

ECHO = EchoBackend(MemoryClock(), EchoSettings())


async def upstream(request: httpx2.Request) -> httpx2.Response:
    """Answer as a server with OpenAI's API does."""
    body = json.loads(request.content)
    prompt = body.get("prompt", body.get("messages"))
    limit = body.get("max_completion_tokens", body.get("max_tokens"))
    inference = Inference(model="tiny", prompt=prompt, max_tokens=limit, parameters=body)
    kind = ChatEncoder if "messages" in body else TextEncoder
    encoder = kind(body["model"], 0, include_usage=True)
    if not body["stream"]:
        whole = encoder.whole(await ECHO.complete(inference))
        return httpx2.Response(200, content=answers.encode(whole))
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


def asked(prompt: str | Sequence[Message] = WORDS, max_tokens: int = 8) -> Inference:
    return Inference(
        model="tiny", prompt=prompt, max_tokens=max_tokens, parameters={"temperature": 0}
    )


@pytest.mark.parametrize("prompt", PROMPTS.values(), ids=PROMPTS)
async def test_the_pieces_of_a_stream_are_the_whole_answer(
    backend: InferenceBackend, prompt: str | Sequence[Message]
) -> None:
    whole = await backend.complete(asked(prompt))
    *others, last = [chunk async for chunk in backend.stream(asked(prompt))]
    assert "".join(chunk.text for chunk in [*others, last]) == whole.choices[0].text
    # The last piece alone has the reason and the usage.
    assert all(chunk == Chunk(chunk.text) for chunk in others)
    assert (last.finish_reason, last.usage) == (whole.choices[0].finish_reason, whole.usage)
    assert last.finish_reason in {"stop", "length"}
    assert whole.usage.prompt_tokens <= backend.tokens_at_most(asked(prompt))


async def test_a_longer_prompt_has_more_tokens(backend: InferenceBackend) -> None:
    shorter = await backend.complete(asked(WORDS))
    longer = await backend.complete(asked(WORDS * 2))
    assert longer.usage.prompt_tokens > shorter.usage.prompt_tokens > 0


@pytest.mark.parametrize(
    ("prompt", "max_tokens", "more"),
    [
        *((WORDS, most, {}) for most in (1, 2, 20)),
        # No parameter makes an answer longer.
        (WORDS, 3, dict.fromkeys(("max_tokens", "max_completion_tokens", "n_predict"), 9)),
        (WORDS, 3, {"n": 2, "n_cmpl": 2}),
        # Whatever the question, it can go on until there.
        ("short", 50, {"ignore_eos": True}),
    ],
)
async def test_an_answer_ends_at_max_tokens(
    backend: InferenceBackend, prompt: str, max_tokens: int, more: dict[str, Any]
) -> None:
    inference = Inference(model="tiny", prompt=prompt, max_tokens=max_tokens, parameters=more)
    whole = await backend.complete(inference)
    assert whole.usage.completion_tokens == max_tokens
    assert [choice.finish_reason for choice in whole.choices] == ["length"]


async def test_many_ask_at_once_and_each_gets_its_own_answer(backend: InferenceBackend) -> None:
    async def streamed(question: Inference) -> str:
        return "".join([chunk.text async for chunk in backend.stream(question)])

    questions = [asked(f"{number} {WORDS}", max_tokens=20) for number in range(20)]
    alone = [(await backend.complete(question)).choices[0].text for question in questions]
    assert len(set(alone)) > 1
    wholes = asyncio.gather(*(backend.complete(question) for question in questions))
    streams = asyncio.gather(*(streamed(question) for question in questions))
    assert [whole.choices[0].text for whole in await wholes] == alone
    assert await streams == alone


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
