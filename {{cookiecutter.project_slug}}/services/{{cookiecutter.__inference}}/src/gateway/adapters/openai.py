"""A backend that is any server with OpenAI's API: llama.cpp, vLLM, a provider on the internet."""

import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from http import HTTPStatus

import httpx2
from pydantic import BaseModel, NonNegativeInt, ValidationError

from .. import domain, errors, ports

PROVIDER = "openai"
LATER = {
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
}
"""Statuses by which a server, or what stands before it, says that it may answer another time."""
ATTEMPTS = 3
"""Times that a request is sent at most. A server may close a connection that it has promised to
keep, as llama.cpp does after each stream, just when the next request is under way on it."""
WITHHELD = {"n", "n_cmpl", "best_of", "max_completion_tokens", "n_predict", "stream_options"}
"""Parameters that are not passed on, since an answer would have more tokens than were asked for;
and `stream_options`, which is ours to say."""
PROMPT_OVERHEAD = 64
"""Tokens that a chat template may add once, such as a system message of its own."""
MESSAGE_OVERHEAD = 32
"""Tokens that a chat template may add to each message, which says who speaks and where it ends."""


class _Usage(BaseModel):
    prompt_tokens: NonNegativeInt
    completion_tokens: NonNegativeInt


class _Said(BaseModel):
    content: str | None = None


class _Choice(BaseModel):
    text: str | None = None
    message: _Said | None = None
    delta: _Said | None = None
    finish_reason: str | None = None

    @property
    def said(self) -> str:
        part = self.message or self.delta
        return (part.content if part else self.text) or ""


class _Answer(BaseModel):
    """What is read of a completion, or of a piece of one; the rest is not looked at."""

    choices: list[_Choice]
    usage: _Usage | None = None


class OpenAIBackend:
    """Hands requests on.

    What the server says of an error is not repeated, since it may hold keys or prompts of others.
    """

    def __init__(self, client: httpx2.AsyncClient) -> None:
        """Ask by `client`, which knows the base URL, the credential and the timeouts."""
        self._client = client

    def tokens_at_most(self, inference: ports.Inference) -> int:
        """Return a bound: no tokenizer in use makes more tokens of a text than it has bytes."""
        if isinstance(inference.prompt, str):
            return PROMPT_OVERHEAD + _size(inference.prompt)
        return PROMPT_OVERHEAD + sum(
            MESSAGE_OVERHEAD + _size(turn.role) + _size(turn.content) for turn in inference.prompt
        )

    async def complete(self, inference: ports.Inference) -> ports.Completion:
        """Return the whole answer."""
        try:
            async with self._asked(inference, stream=False) as response:
                answer = _parse(await response.aread())
        except httpx2.HTTPError as error:
            raise _failure(error) from error
        if not answer.choices or not answer.choices[0].finish_reason:
            raise errors.BackendError(PROVIDER, "the answer has no end")
        text = answer.choices[0].said
        # A server that does not count is taken to have made as many tokens as it can have.
        made = min(_size(text), inference.max_tokens)
        return ports.Completion(
            text,
            _reason(answer.choices[0].finish_reason),
            self._usage(inference, answer.usage, made),
        )

    async def stream(self, inference: ports.Inference) -> AsyncGenerator[ports.Chunk, None]:
        """Yield the answer in the pieces that the server sends."""
        pieces, finish_reason, usage = 0, None, None
        try:
            async with self._asked(inference, stream=True) as response:
                async for event in httpx2.EventSource(response):
                    if event.data == "[DONE]":
                        # Read on: a response with an unread rest costs its connection.
                        continue
                    part = _parse(event.data)
                    usage = part.usage or usage
                    for choice in part.choices[:1]:
                        finish_reason = choice.finish_reason or finish_reason
                        if choice.said:
                            pieces += 1
                            yield ports.Chunk(choice.said)
        except httpx2.HTTPError as error:
            raise _failure(error, begun=pieces > 0) from error
        if not finish_reason:
            raise errors.BackendError(PROVIDER, "the answer broke off")
        yield ports.Chunk("", _reason(finish_reason), self._usage(inference, usage, pieces))

    async def ping(self) -> None:
        """Ask which models there are."""
        try:
            async with self._opened("GET", "/models") as response:
                await response.aread()
        except httpx2.HTTPError as error:
            raise _failure(error) from error

    def _asked(
        self, inference: ports.Inference, *, stream: bool
    ) -> AbstractAsyncContextManager[httpx2.Response]:
        path = "/completions" if isinstance(inference.prompt, str) else "/chat/completions"
        return self._opened("POST", path, _body(inference, stream=stream))

    @asynccontextmanager
    async def _opened(
        self, method: str, path: str, content: bytes | None = None
    ) -> AsyncIterator[httpx2.Response]:
        response = await self._sent(method, path, content)
        try:
            if response.status_code in LATER:
                raise errors.UnavailableError(PROVIDER)
            if response.status_code != HTTPStatus.OK:
                reason = f"it answered with status {response.status_code}"
                raise errors.BackendError(PROVIDER, reason)
            yield response
        finally:
            await response.aclose()

    async def _sent(self, method: str, path: str, content: bytes | None) -> httpx2.Response:
        headers = {"Content-Type": "application/json"} if content else None
        attempt = 1
        while True:
            request = self._client.build_request(method, path, content=content, headers=headers)
            try:
                return await self._client.send(request, stream=True)
            except (httpx2.RemoteProtocolError, httpx2.ReadError, httpx2.WriteError):
                if attempt == ATTEMPTS:
                    raise
                attempt += 1

    def _usage(self, inference: ports.Inference, told: _Usage | None, made: int) -> domain.Usage:
        if told:
            return domain.Usage(told.prompt_tokens, told.completion_tokens)
        return domain.Usage(self.tokens_at_most(inference), made)


def _body(inference: ports.Inference, *, stream: bool) -> bytes:
    passed = {name: value for name, value in inference.parameters.items() if name not in WITHHELD}
    # Ours come last, so that parameters cannot replace them.
    body = passed | {"model": inference.model, "max_tokens": inference.max_tokens, "stream": stream}
    if stream:
        body["stream_options"] = {"include_usage": True}
    if isinstance(inference.prompt, str):
        body["prompt"] = inference.prompt
    else:
        body["messages"] = [turn._asdict() for turn in inference.prompt]
    # In ASCII: half a surrogate pair, which UTF-8 cannot carry, is for the server to refuse.
    return json.dumps(body).encode("ascii")


def _parse(content: str | bytes) -> _Answer:
    try:
        return _Answer.model_validate_json(content)
    except ValidationError:
        # Its message would hold the content.
        raise errors.BackendError(PROVIDER, "what it said is no completion") from None


def _failure(error: httpx2.HTTPError, *, begun: bool = False) -> errors.ServiceError:
    if begun:
        return errors.BackendError(PROVIDER, "the answer broke off")
    if isinstance(error, httpx2.TransportError) and not isinstance(error, httpx2.SSEError):
        return errors.UnavailableError(PROVIDER)
    return errors.BackendError(PROVIDER, "what it said cannot be read")


def _reason(told: str) -> str:
    return "length" if told == "length" else "stop"


def _size(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))
