"""The backend on a real engine, beyond what every backend promises."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path

import pytest

from stratakit.testing import eventually

from gateway import errors
from gateway.adapters.openai import OpenAIBackend
from gateway.ports import Inference, InferenceBackend

from .server import CONTEXT, SLOTS, Engine, running

LONG = CONTEXT - 200
"""Number of tokens that take the engine many seconds."""


@pytest.fixture(scope="module")
def other_llama(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """An engine with another model."""
    with running(tmp_path_factory.mktemp("other_llama"), seed=2) as engine:
        yield engine


@pytest.fixture(scope="module")
async def other_backend(other_llama: Engine) -> AsyncIterator[InferenceBackend]:
    async with other_llama.client() as client:
        yield OpenAIBackend(client)


def asked(max_tokens: int = 8, prompt: str = "Hi.", **parameters: object) -> Inference:
    return Inference(
        model="tiny",
        prompt=({"role": "user", "content": prompt},),
        max_tokens=max_tokens,
        parameters={"temperature": 0, **parameters},
    )


async def idle(engine: Engine) -> bool:
    return await busy(engine) == 0


async def busy(engine: Engine) -> int:
    """Return the number of requests that an engine is processing."""
    async with engine.client() as client:
        slots = (await client.get(f"{engine.url}/slots")).json()
    return sum(slot["is_processing"] for slot in slots)


async def text(backend: InferenceBackend, inference: Inference) -> str:
    return "".join([chunk.text async for chunk in backend.stream(inference)])


async def test_chunks_arrive_while_the_engine_is_still_generating(
    openai_backend: InferenceBackend, llama: Engine
) -> None:
    async with aclosing(openai_backend.stream(asked(LONG))) as chunks:
        assert all([(await anext(chunks)).text for _ in range(5)])
        assert await busy(llama) == 1


async def test_the_engine_stops_generating_when_streams_are_closed(
    openai_backend: InferenceBackend, llama: Engine
) -> None:
    streams = [openai_backend.stream(asked(LONG)) for _ in range(SLOTS)]
    for chunks in streams:
        await anext(chunks)
    assert await busy(llama) == SLOTS
    for chunks in streams:
        await chunks.aclose()
    await eventually(lambda: idle(llama))
    assert (await openai_backend.complete(asked())).choices[0].text


async def test_a_completion_ends_at_its_stop_word(openai_backend: InferenceBackend) -> None:
    free = (await openai_backend.complete(asked(50))).choices[0].text
    word = free.split()[10]
    stopped = await openai_backend.complete(asked(50, stop=[word]))
    assert stopped.choices[0].finish_reason == "stop"
    assert stopped.choices[0].text == free[: free.index(word)]
    assert await text(openai_backend, asked(50, stop=[word])) == stopped.choices[0].text


async def test_no_request_fails_because_the_engine_closed_its_connection(
    openai_backend: InferenceBackend,
) -> None:
    # It closes each after a stream, sometimes just as the next request arrives.
    for _ in range(150):
        assert await text(openai_backend, asked(1))


async def test_a_prompt_longer_than_the_context_is_refused(
    openai_backend: InferenceBackend,
) -> None:
    too_long = asked(prompt="x" * CONTEXT)
    with pytest.raises(errors.RefusedError, match="exceeds"):
        await openai_backend.complete(too_long)
    with pytest.raises(errors.RefusedError, match="exceeds"):
        await text(openai_backend, too_long)


async def test_an_invalid_api_key_is_refused(llama: Engine) -> None:
    async with llama.client("sk-wrong") as client:
        with pytest.raises(errors.BackendError, match="status 401"):
            await OpenAIBackend(client).complete(asked())


async def test_a_killed_engine_breaks_off_its_streams_and_is_unavailable(
    tmp_path: Path,
) -> None:
    with running(tmp_path) as engine:
        async with engine.client() as client:
            backend = OpenAIBackend(client)
            chunks = backend.stream(asked(LONG))
            await anext(chunks)
            engine.process.kill()
            with pytest.raises(errors.BackendError, match="broke off"):
                async for _ in chunks:
                    pass
            with pytest.raises(errors.UnavailableError):
                await backend.complete(asked())
            with pytest.raises(errors.UnavailableError):
                await text(backend, asked())


async def test_a_model_is_swapped_under_load_without_failed_requests(
    openai_backend: InferenceBackend, other_backend: InferenceBackend
) -> None:
    inference = asked(30)
    old, new = await text(openai_backend, inference), await text(other_backend, inference)
    assert old != new
    target, answers = openai_backend, list[str]()

    async def ask() -> None:
        # Each request keeps the target that it started with.
        while answers.count(new) < 20:
            answers.append(await text(target, inference))

    asking = [asyncio.ensure_future(ask()) for _ in range(2 * SLOTS)]
    await eventually(lambda: len(answers) >= 20)
    target = other_backend
    await asyncio.gather(*asking)
    assert set(answers) == {old, new}
