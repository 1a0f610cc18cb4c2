"""The contract of `InferenceBackend`, with the echo and with OpenAI's API.

The server behind the latter is a fake: it returns what the echo says, in OpenAI's format.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import httpx2
import pytest

from gateway.adapters.echo import EchoBackend, EchoSettings
from gateway.adapters.openai import OpenAIBackend
from gateway.api import streaming
from gateway.api.schemas.completions import ChatEncoder, TextEncoder
from gateway.ports import Chunk, Inference, InferenceBackend, Message

from ..fakes.clock import MemoryClock

ECHO = EchoBackend(MemoryClock(), EchoSettings())


async def upstream(request: httpx2.Request) -> httpx2.Response:
    """Return the response of a server with OpenAI's API."""
    body = json.loads(request.content)
    prompt = body.get("prompt", body.get("messages"))
    limit = body.get("max_completion_tokens", body.get("max_tokens"))
    inference = Inference(model="tiny", prompt=prompt, max_tokens=limit, parameters=body)
    kind = ChatEncoder if "messages" in body else TextEncoder
    encoder = kind(body["model"], 0, include_usage=True)
    if not body["stream"]:
        return httpx2.Response(200, json=encoder.whole(await ECHO.complete(inference)))
    events = [encoder.events(chunk) async for chunk in ECHO.stream(inference)]
    headers = {"Content-Type": streaming.MEDIA_TYPE}
    return httpx2.Response(200, headers=headers, content=b"".join([*events, streaming.DONE]))


@pytest.fixture(params=["echo", "openai"])
async def backend(request: pytest.FixtureRequest) -> AsyncIterator[InferenceBackend]:
    """Each backend."""
    transport = httpx2.MockTransport(upstream)
    async with httpx2.AsyncClient(transport=transport, base_url="http://upstream/v1") as client:
        yield ECHO if request.param == "echo" else OpenAIBackend(client)


# Enough words for every `max_tokens` below.
WORDS = " ".join(f"word{number}" for number in range(40))
PROMPTS = {
    "text": WORDS,
    "chat": ({"role": "system", "content": "Be brief."}, {"role": "user", "content": WORDS}),
    "unicode": f"héllo 世界 👩‍🚀 \u0301 \ufeff {WORDS}",
    "controls": f"a\tb\r\nc\0d\x1b {WORDS}",
    "empty text": "",
    "blank text": " \n",
    "empty chat": ({"role": "user", "content": ""},),
}


def asked(prompt: str | Sequence[Message] = WORDS, most: int = 8) -> Inference:
    return Inference(model="tiny", prompt=prompt, max_tokens=most, parameters={"temperature": 0})


@pytest.mark.parametrize("prompt", PROMPTS.values(), ids=PROMPTS)
async def test_the_chunks_of_a_stream_add_up_to_the_whole_completion(
    backend: InferenceBackend, prompt: str | Sequence[Message]
) -> None:
    whole = await backend.complete(asked(prompt))
    *others, last = [chunk async for chunk in backend.stream(asked(prompt))]
    assert "".join(chunk.text for chunk in [*others, last]) == whole.choices[0].text
    # Only the last chunk has the finish reason and the usage.
    assert all(chunk == Chunk(chunk.text) for chunk in others)
    assert (last.finish_reason, last.usage) == (whole.choices[0].finish_reason, whole.usage)
    assert last.finish_reason in {"stop", "length"}
    assert whole.usage.prompt_tokens <= backend.tokens_at_most(asked(prompt))


@pytest.mark.parametrize(
    ("prompt", "max_tokens", "more"),
    [
        *((WORDS, most, {}) for most in (1, 2, 20)),
        # No parameter makes a completion longer.
        (WORDS, 3, dict.fromkeys(("max_tokens", "max_completion_tokens", "n_predict"), 9)),
        (WORDS, 3, {"n": 2, "n_cmpl": 2}),
        # Even a short prompt can reach the limit.
        ("short", 50, {"ignore_eos": True}),
    ],
)
async def test_a_completion_ends_at_max_tokens(
    backend: InferenceBackend, prompt: str, max_tokens: int, more: dict[str, Any]
) -> None:
    inference = Inference(model="tiny", prompt=prompt, max_tokens=max_tokens, parameters=more)
    whole = await backend.complete(inference)
    assert whole.usage.completion_tokens == max_tokens
    assert [choice.finish_reason for choice in whole.choices] == ["length"]


async def test_concurrent_requests_each_get_their_own_completion(backend: InferenceBackend) -> None:
    async def streamed(question: Inference) -> str:
        return "".join([chunk.text async for chunk in backend.stream(question)])

    questions = [asked(f"{number} {WORDS}", most=20) for number in range(20)]
    alone = [(await backend.complete(question)).choices[0].text for question in questions]
    assert len(set(alone)) > 1
    wholes = asyncio.gather(*(backend.complete(question) for question in questions))
    streams = asyncio.gather(*(streamed(question) for question in questions))
    assert [whole.choices[0].text for whole in await wholes] == alone
    assert await streams == alone
