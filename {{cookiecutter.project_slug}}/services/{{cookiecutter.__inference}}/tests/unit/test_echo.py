"""The echo backend, which has no model: its completions, and its configured faults."""

import asyncio
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import errors
from gateway.adapters.echo import TURN, EchoBackend, EchoSettings
from gateway.domain import Usage
from gateway.ports import Chunk, Completion, Inference, Message

from ..fakes.clock import MemoryClock

PROMPT = "the quick brown fox jumps over the lazy dog"
# Any character. (st.text would spend a second on tables of Unicode.)
POINTS = st.integers(0, 0xD7FF) | st.integers(0xE000, 0x10FFFF)
TEXT = st.lists(st.sampled_from(" \n\t") | POINTS.map(chr), max_size=30)
FAILED, BROKEN = "echo failed: it was told to fail", "echo failed: the answer broke off"


def echo(clock: MemoryClock | None = None, **settings: Any) -> EchoBackend:
    told = {f"echo_{name}": value for name, value in settings.items()}
    return EchoBackend(clock or MemoryClock(), EchoSettings(**told))


def asked(prompt: str | Sequence[Message] = PROMPT, most: int = 100, **more: object) -> Inference:
    return Inference(model="echo", prompt=prompt, max_tokens=most, parameters=more)


async def pieces(backend: EchoBackend, inference: Inference) -> list[Chunk]:
    return [chunk async for chunk in backend.stream(inference)]


async def waits(inference: Inference, *, stream: bool = True, **settings: Any) -> list[float]:
    """Return the seconds of each wait during a completion."""
    found: list[float] = []

    class Counting(MemoryClock):
        async def sleep(self, seconds: float) -> None:
            found.append(seconds)

    backend = echo(Counting(), **settings)
    await (pieces(backend, inference) if stream else backend.complete(inference))
    return found


async def fates(requests: int, **settings: Any) -> list[tuple[int, str]]:
    """Send requests; return the number of tokens and the error of each."""
    backend, found = echo(**settings), []
    for _ in range(requests):
        tokens, wrong = 0, ""
        try:
            async for chunk in backend.stream(asked()):
                tokens += bool(chunk.text)
        except errors.BackendError as error:
            wrong = str(error)
        found.append((tokens, wrong))
    return found


async def test_a_completion_has_the_words_of_the_prompt_in_the_same_order_in_each_process() -> None:
    text = "jumps over the lazy dog the quick brown fox"
    assert await echo().complete(asked()) == Completion([Chunk(text, "stop")], Usage(9, 9))
    nothing = asked(" ", ignore_eos=True)
    assert await echo().complete(nothing) == Completion([Chunk("", "stop")], Usage(0, 0))
    # A chunk is a word with the space before it.
    said = [chunk.text for chunk in await pieces(echo(), asked())]
    assert said == [*re.findall(" ?[a-z]+", text), ""]
    turns = ({"role": "system", "content": "one two"}, {"role": "user", "content": "three"})
    whole = await echo().complete(asked(turns))
    assert set(whole.choices[0].text.split()) == {"one", "two", "three"}
    assert whole.usage.prompt_tokens == echo().tokens_at_most(asked(turns)) == 3


@given(TEXT.map("".join), st.integers(1, 60), st.booleans())
async def test_usage_counts_the_words_of_any_text(text: str, limit: int, ignore_eos: bool) -> None:
    inference = asked(text, limit, ignore_eos=ignore_eos)
    whole = await echo().complete(inference)
    assert whole.usage.completion_tokens == len(whole.choices[0].text.split()) <= limit
    assert whole.usage.prompt_tokens == echo().tokens_at_most(inference) == len(text.split())


async def test_a_long_stream_lets_other_tasks_run() -> None:
    other = asyncio.ensure_future(asyncio.sleep(0))
    said = 0
    async for _ in echo().stream(asked(most=10 * TURN, ignore_eos=True)):
        if other.done():
            break
        said += 1
    assert said <= 2 * TURN


async def test_each_token_takes_its_time_and_a_whole_completion_as_long_as_a_stream() -> None:
    slow: dict[str, Any] = {"first_token": 2, "per_token": 0.5}
    assert await waits(asked("one two three"), **slow) == [2, 0.5, 0.5]
    assert await waits(asked(" "), **slow, stream=False) == []
    for jitter in (0.0, 0.3):
        streamed = await waits(asked(), **slow, jitter=jitter)
        whole = await waits(asked(), **slow, jitter=jitter, stream=False)
        assert whole == [pytest.approx(sum(streamed))]
    for stream in (True, False):
        assert await waits(asked(), jitter=1.0, stream=stream) == []


async def test_jitter_varies_the_waits_by_at_most_its_fraction() -> None:
    found = await waits(asked(most=200, ignore_eos=True), first_token=1, per_token=1, jitter=0.2)
    assert 0.8 <= min(found) < max(found) - 0.3 < max(found) <= 1.2


async def test_rates_are_fractions_of_requests_and_a_stream_can_break_off_anywhere() -> None:
    for ask in (echo(failure_rate=1.0).complete(asked()), pieces(echo(failure_rate=1.0), asked())):
        with pytest.raises(errors.BackendError, match=FAILED):
            await ask
    found = Counter(wrong for _, wrong in await fates(1000, failure_rate=0.2, cut_off_rate=0.5))
    assert 150 < found[FAILED] < 250
    assert 350 < found[""] < 450
    # It breaks off even before the first and after the last token.
    assert {*await fates(200, cut_off_rate=1.0)} == {(tokens, BROKEN) for tokens in range(10)}


async def test_a_run_repeats_only_with_the_same_seed() -> None:
    first, second, other = [
        await fates(50, failure_rate=0.3, cut_off_rate=0.3, seed=seed) for seed in (1, 1, 2)
    ]
    assert first == second != other
