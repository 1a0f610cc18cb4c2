"""Backend that repeats the words of the prompt: no model, no network, deterministic."""

import asyncio
import random
import zlib
from collections.abc import AsyncGenerator, Iterable, Sequence
from itertools import count, cycle, islice, repeat

from pydantic import BaseModel, Field

from .. import domain, errors, ports

PROVIDER = "echo"
TURN = 32
"""Tokens made without a wait after which other tasks run, such as one that cancels this one."""
CONTEXT = 8_192
"""Token limit of a completion without `max_tokens`, like the context of a model."""
SUPPORTED = frozenset(
    {
        *("frequency_penalty", "logit_bias", "presence_penalty", "seed", "stop", "temperature"),
        *("max_completion_tokens", "metadata", "top_p", "user", "verbosity"),
        *("prompt_cache_key", "reasoning_effort", "safety_identifier", "service_tier", "text"),
    }
)
"""Accepted parameters: those of sampling, which have no effect here, and those about the caller."""


class EchoSettings(BaseModel):
    """Simulated delays and failures. Rates are from 0 to 1."""

    echo_first_token: float = Field(default=0.0, ge=0)
    """Seconds until the first token."""
    echo_per_token: float = Field(default=0.0, ge=0)
    """Seconds until each further token."""
    echo_jitter: float = Field(default=0.0, ge=0, le=1)
    """Maximum deviation of each wait, as a fraction of it."""
    echo_failure_rate: float = Field(default=0.0, ge=0, le=1)
    """Fraction of requests that fail immediately."""
    echo_cut_off_rate: float = Field(default=0.0, ge=0, le=1)
    """Fraction of streams that break off at some token."""
    echo_seed: int = 0
    """Seed that decides which, and where. The n-th request always has the same outcome."""


class EchoBackend:
    """Backend that repeats the words of the prompt, starting at a word that their hash selects.

    A token is a word with the space before it. Each word is repeated once; or, if the parameter
    `ignore_eos` is true (as in vLLM and llama.cpp), over and over until `max_tokens` is reached.
    No other parameter has an effect.
    """

    def __init__(self, clock: ports.Clock, settings: EchoSettings) -> None:
        self._clock = clock
        self._settings = settings
        self._numbers = count()
        waits = settings.echo_first_token or settings.echo_per_token
        self._fails_or_waits = waits or settings.echo_failure_rate or settings.echo_cut_off_rate

    def supports(self, feature: str) -> bool:
        return feature in SUPPORTED

    def tokens_at_most(self, inference: ports.Inference) -> int:
        """Return the exact number of tokens in the prompt."""
        return len(_text(inference.prompt).split())

    async def complete(self, inference: ports.Inference) -> ports.Completion:
        words, finish_reason, usage = _answer(inference)
        waits, _ = self._fate(len(words))
        if seconds := sum(waits):
            await self._clock.sleep(seconds)
        return ports.Completion([ports.Chunk(" ".join(words), finish_reason)], usage)

    async def stream(self, inference: ports.Inference) -> AsyncGenerator[ports.Chunk, None]:
        """Yield the completion token by token."""
        words, finish_reason, usage = _answer(inference)
        waits, end = self._fate(len(words))
        for number, (word, wait) in enumerate(zip(words[:end], waits, strict=False)):
            if wait:
                await self._clock.sleep(wait)
            elif number % TURN == TURN - 1:
                await asyncio.sleep(0)
            yield ports.Chunk(f" {word}" if number else word)
        if end is not None:
            raise errors.BackendError(PROVIDER, "the answer broke off")
        yield ports.Chunk("", finish_reason, usage)

    def _fate(self, tokens: int) -> tuple[Iterable[float], int | None]:
        """Return the wait before each token, and the number of tokens before a stream breaks off.

        They are the same in each run. Raise BackendError if the request is to fail.
        """
        if not self._fails_or_waits:
            # The rest costs a tenth of a request.
            return repeat(0, tokens), None
        settings, number = self._settings, next(self._numbers)
        # Seeded by the request's number, so that concurrent requests do not affect it.
        chance = random.Random(settings.echo_seed << 64 | number)  # noqa: S311 - no secret
        # Always drawn, so that the waits are the same for a stream and a whole completion.
        fails, breaks, place = (chance.random() for _ in range(3))
        if fails < settings.echo_failure_rate:
            raise errors.BackendError(PROVIDER, "it was told to fail")
        seconds = [settings.echo_first_token, *repeat(settings.echo_per_token, tokens - 1)]
        jitter = settings.echo_jitter
        waits = (each * (1 + jitter * chance.uniform(-1, 1)) for each in seconds[:tokens])
        return waits, int(place * (tokens + 1)) if breaks < settings.echo_cut_off_rate else None


def _answer(inference: ports.Inference) -> tuple[list[str], ports.FinishReason, domain.Usage]:
    text = _text(inference.prompt)
    words = text.split()
    # Not hash(), which differs between processes.
    first = zlib.crc32(text.encode()) % max(1, len(words))
    words = words[first:] + words[:first]
    limit, endless = inference.max_tokens or CONTEXT, inference.parameters.get("ignore_eos")
    said = list(islice(cycle(words) if endless else words, limit))
    cut = len(words) > limit or (endless and words)
    return said, "length" if cut else "stop", domain.Usage(len(words), len(said))


def _text(prompt: str | Sequence[ports.Message]) -> str:
    if isinstance(prompt, str):
        return prompt
    contents = [message.get("content") or "" for message in prompt]
    return "\n".join(
        content if isinstance(content, str) else "\n".join([part["text"] for part in content])
        for content in contents
    )
