"""The backend without a model: what it says, and how it fails when it is told to."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import errors
from gateway.adapters.echo import TURN, EchoBackend, EchoSettings
from gateway.ports import Chunk, Inference, Message

from ..fakes.clock import MemoryClock

PROMPT = "the quick brown fox jumps over the lazy dog"
# Any code point, good or not. (st.text would spend a second on tables of Unicode.)
TEXT = st.lists(st.sampled_from(" \n\t") | st.integers(0, 0x10FFFF).map(chr), max_size=30)


def told(**settings: Any) -> EchoSettings:
    return EchoSettings(**{f"echo_{name}": value for name, value in settings.items()})


def echo(**settings: Any) -> EchoBackend:
    return EchoBackend(MemoryClock(), told(**settings))


def asked(
    prompt: str | Sequence[Message] = PROMPT, max_tokens: int = 100, **parameters: object
) -> Inference:
    return Inference(model="echo", prompt=prompt, max_tokens=max_tokens, parameters=parameters)


async def pieces(backend: EchoBackend, inference: Inference) -> list[Chunk]:
    return [chunk async for chunk in backend.stream(inference)]


async def waits(inference: Inference, *, stream: bool = True, **settings: Any) -> list[float]:
    """Return how long an answer waits, each time."""
    found: list[float] = []

    class Clock(MemoryClock):
        async def sleep(self, seconds: float) -> None:
            found.append(seconds)

    backend = EchoBackend(Clock(), told(**settings))
    await (pieces(backend, inference) if stream else backend.complete(inference))
    return found


async def fates(backend: EchoBackend, requests: int) -> list[int | str]:
    """Ask so many times; return how many tokens came each time, or why none did."""
    found: list[int | str] = []
    for _ in range(requests):
        tokens = 0
        try:
            async for chunk in backend.stream(asked()):
                tokens += bool(chunk.text)
        except errors.BackendError as error:
            found.append(tokens or str(error))
        else:
            found.append("whole")
    return found


async def test_an_answer_is_the_words_of_the_prompt_the_same_in_every_process() -> None:
    whole = await echo().complete(asked())
    assert whole.choices[0].text == "jumps over the lazy dog the quick brown fox"
    assert whole.choices[0].finish_reason == "stop"
    assert (whole.usage.prompt_tokens, whole.usage.completion_tokens) == (9, 9)
    first, *words, _ = await pieces(echo(), asked())
    # A piece is a word with the blank before it.
    assert first.text == "jumps"
    assert all(chunk.text == f" {chunk.text.strip()}" for chunk in words)


async def test_the_words_of_a_chat_are_those_of_all_its_turns() -> None:
    chat = asked(({"role": "system", "content": "one two"}, {"role": "user", "content": "three"}))
    whole = await echo().complete(chat)
    assert set(whole.choices[0].text.split()) == {"one", "two", "three"}
    assert whole.usage.prompt_tokens == echo().tokens_at_most(chat) == 3
    whole = await echo().complete(asked(" ", ignore_eos=True))
    assert (whole.choices, whole.usage.total) == ([Chunk("", "stop")], 0)


@given(TEXT.map("".join), st.integers(1, 60), st.booleans())
async def test_usage_counts_whatever_was_said(text: str, limit: int, ignore_eos: bool) -> None:
    inference = asked(text, limit, ignore_eos=ignore_eos)
    whole = await echo().complete(inference)
    assert whole.usage.completion_tokens == len(whole.choices[0].text.split()) <= limit
    assert whole.usage.prompt_tokens == echo().tokens_at_most(inference) == len(text.split())
    chunks = await pieces(echo(), inference)
    assert "".join(chunk.text for chunk in chunks) == whole.choices[0].text
    assert chunks[-1] == Chunk("", whole.choices[0].finish_reason, whole.usage)


async def test_a_long_stream_lets_others_run() -> None:
    other = asyncio.ensure_future(asyncio.sleep(0))
    said = 0
    async for _ in echo().stream(asked(max_tokens=10 * TURN, ignore_eos=True)):
        if other.done():
            break
        said += 1
    assert said <= 2 * TURN


async def test_each_token_takes_its_time_and_a_whole_answer_as_long_as_a_stream() -> None:
    slow: dict[str, Any] = {"first_token": 2, "per_token": 0.5}
    assert await waits(asked("one two three"), **slow) == [2, 0.5, 0.5]
    for jitter in (0.0, 0.3):
        streamed = await waits(asked(), **slow, jitter=jitter)
        whole = await waits(asked(), **slow, jitter=jitter, stream=False)
        assert whole == [pytest.approx(sum(streamed))]
    for stream in (True, False):
        assert await waits(asked(), jitter=1.0, stream=stream) == []


async def test_jitter_makes_waits_differ_by_no_more_than_its_fraction() -> None:
    many = asked(max_tokens=200, ignore_eos=True)
    found = await waits(many, first_token=1, per_token=1, jitter=0.2)
    assert 0.8 <= min(found) < max(found) - 0.3 < max(found) <= 1.2


async def test_one_that_is_told_to_fail_fails() -> None:
    backend = echo(failure_rate=1.0)
    for ask in (backend.complete(asked()), pieces(backend, asked())):
        with pytest.raises(errors.BackendError, match="echo failed"):
            await ask


async def test_a_stream_that_is_cut_off_never_ends_well() -> None:
    found = await fates(echo(cut_off_rate=1.0), 200)
    assert "whole" not in found
    # Anywhere: before the first token, and after the last one, too.
    assert {tokens for tokens in found if isinstance(tokens, int)} == set(range(1, 10))
    assert any("broke off" in str(fate) for fate in found)


async def test_a_rate_is_how_many_it_strikes() -> None:
    found = Counter(map(str, await fates(echo(failure_rate=0.2, cut_off_rate=0.5), 1000)))
    assert 0.15 < found["echo failed: it was told to fail"] / 1000 < 0.25
    assert 0.35 < found["whole"] / 1000 < 0.45


async def test_a_run_repeats_with_its_seed_and_not_with_another() -> None:
    first, second, other = [
        await fates(echo(failure_rate=0.3, cut_off_rate=0.3, seed=seed), 50) for seed in (1, 1, 2)
    ]
    assert first == second != other
