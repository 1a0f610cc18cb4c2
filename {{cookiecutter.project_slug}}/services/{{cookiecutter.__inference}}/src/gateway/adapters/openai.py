"""Backend for any server with OpenAI's API: llama.cpp, vLLM, a hosted provider."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from http import HTTPStatus
from typing import Any, get_args

import httpx2
from pydantic import BaseModel, ConfigDict, NonNegativeInt, ValidationError
from pydantic_core import to_json

from .. import domain, errors, ports

PROVIDER = "openai"
LATER = {502, 503, 504}
"""Statuses of a server, or of a proxy before it, that is temporarily unavailable."""
REFUSED = {400, 413, 422}
"""Statuses for an invalid request, which only the client can correct."""
REASON_LENGTH = 500
"""Maximum length of the server's error message in ours."""
ATTEMPTS = 3
"""Maximum number of times to send a request. A server may close a keep-alive connection, as
llama.cpp does after each stream, just when the next request is sent on it."""
LIMITS = ("max_completion_tokens", "max_tokens")
"""Names of the token limit: reasoning models know only the first, older servers only the last."""
WITHHELD = {*LIMITS, "n", "n_cmpl", "best_of", "n_predict", "stream_options"}
"""Parameters that are not passed on: they could make more tokens than the gateway has admitted, or
are set by the gateway itself."""
PROMPT_OVERHEAD = 64
"""Tokens that a chat template may add once, such as a default system message."""
MESSAGE_OVERHEAD = 32
"""Tokens that a chat template may add to each message, to mark its role and its end."""
IN_PROMPT = ("tools", "functions", "response_format")
"""Parameters that become part of the model's prompt."""
TOOLS_OVERHEAD = 512
"""Tokens that a chat template may add to explain one of these parameters."""
MEDIA = 4_096
"""Tokens assumed for an image or another file: only the server knows the real number."""
FINISH_REASONS: tuple[ports.FinishReason, ...] = get_args(ports.FinishReason)


class _Said(BaseModel):
    model_config = ConfigDict(extra="allow")

    content: str | None = None
    tool_calls: list[dict[str, Any]] | None = None


class _Choice(BaseModel):
    index: NonNegativeInt = 0
    text: str | None = None
    message: _Said | None = None
    delta: _Said | None = None
    logprobs: dict[str, Any] | None = None
    finish_reason: str | None = None

    @property
    def reason(self) -> ports.FinishReason | None:
        """Return the finish reason; some servers have their own names for "stop"."""
        known = (reason for reason in FINISH_REASONS if reason == self.finish_reason)
        return next(known, "stop") if self.finish_reason else None

    def chunk(self, reason: ports.FinishReason | None = None) -> ports.Chunk:
        """Return the choice as a chunk of the port."""
        said = self.message or self.delta
        more = said.model_dump(exclude={"content", "role"}, exclude_none=True) if said else None
        text = (said.content if said else self.text) or ""
        return ports.Chunk(text, reason, None, self.index, more or None, self.logprobs)


class _Answer(BaseModel):
    """Fields that are read from a completion or from a chunk of one; others are ignored."""

    choices: list[_Choice]
    usage: domain.Usage | None = None


class _Error(BaseModel):
    message: str
    param: str | None = None
    code: str | int | None = None


class _Failure(BaseModel):
    error: _Error


class OpenAIBackend:
    """Backend that forwards requests through a client with the base URL, credential and timeouts.

    If the server rejects a request, its message is passed on, without our key. Messages of other
    errors are not, since they may concern other clients.
    """

    def __init__(self, client: httpx2.AsyncClient) -> None:
        self._client = client

    def supports(self, feature: str) -> bool:  # noqa: ARG002 - the server decides
        """Return True: the server itself rejects what it does not support."""
        return True

    def tokens_at_most(self, inference: ports.Inference) -> int:
        """Return an upper bound: no tokenizer in use makes more tokens than the text has bytes."""
        read = [inference.parameters[name] for name in IN_PROMPT if name in inference.parameters]
        messages = 0 if isinstance(inference.prompt, str) else len(inference.prompt)
        overhead = PROMPT_OVERHEAD + MESSAGE_OVERHEAD * messages + TOOLS_OVERHEAD * len(read)
        return overhead + _size(inference.prompt) + _size(read)

    async def complete(self, inference: ports.Inference) -> ports.Completion:
        try:
            async with self._asked(inference, stream=False) as response:
                answer = _parse(await response.aread())
        except httpx2.HTTPError as error:
            raise _failure(error) from error
        choices = [choice.chunk(choice.reason) for choice in answer.choices]
        if not choices or not all(choice.finish_reason for choice in choices):
            raise errors.BackendError(PROVIDER, "the completion is incomplete")
        # If the server reports no usage, assume the maximum number of tokens.
        sizes = [_size(choice.text) + _size(choice.more) for choice in choices]
        made = sum(min(size, inference.max_tokens or size) for size in sizes)
        return ports.Completion(choices, answer.usage or self._bound(inference, made))

    async def stream(self, inference: ports.Inference) -> AsyncGenerator[ports.Chunk, None]:
        pieces, usage = 0, None
        reasons: dict[int, ports.FinishReason] = {}
        try:
            async with self._asked(inference, stream=True) as response:
                async for event in httpx2.EventSource(response):
                    if event.data == "[DONE]":
                        # Read to the end: the connection of a partly read response is not reused.
                        continue
                    part = _parse(event.data)
                    usage = part.usage or usage
                    for choice in part.choices:
                        if choice.reason:
                            reasons[choice.index] = choice.reason
                        chunk = choice.chunk()
                        if chunk.text or chunk.more or chunk.logprobs:
                            pieces += 1
                            yield chunk
        except httpx2.HTTPError as error:
            raise _failure(error, begun=pieces > 0) from error
        if len(reasons) < inference.n:
            raise errors.BackendError(PROVIDER, "the answer broke off")
        last = max(reasons)
        for index, reason in sorted(reasons.items()):
            told = (usage or self._bound(inference, pieces)) if index == last else None
            yield ports.Chunk("", reason, told, index)

    @asynccontextmanager
    async def _asked(
        self, inference: ports.Inference, *, stream: bool
    ) -> AsyncIterator[httpx2.Response]:
        path = "/completions" if isinstance(inference.prompt, str) else "/chat/completions"
        body, headers = _body(inference, stream=stream), {"Content-Type": "application/json"}
        request = self._client.build_request("POST", path, content=body, headers=headers)
        response = await self._sent(request)
        async with aclosing(response):
            if response.status_code != HTTPStatus.OK:
                raise await self._error(response)
            yield response

    async def _sent(self, request: httpx2.Request) -> httpx2.Response:
        for _ in range(ATTEMPTS - 1):
            with suppress(httpx2.RemoteProtocolError, httpx2.ReadError, httpx2.WriteError):
                return await self._client.send(request, stream=True)
        return await self._client.send(request, stream=True)

    async def _error(self, response: httpx2.Response) -> errors.ServiceError:
        """Return the error for a response's status."""
        status = response.status_code
        told = response.headers.get("Retry-After", "")
        # A date is allowed as well, but not supported.
        wait = float(told) if told.isdecimal() else 1.0
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            return errors.ThrottledError(f"requests to {PROVIDER}", wait)
        if status in LATER:
            return errors.UnavailableError(PROVIDER, wait)
        if status not in REFUSED:
            final = status < HTTPStatus.INTERNAL_SERVER_ERROR
            return errors.BackendError(PROVIDER, f"it answered with status {status}", final=final)
        try:
            error = _Failure.model_validate_json(await response.aread()).error
        except ValidationError:
            return errors.RefusedError(f"{PROVIDER} refuses the request with status {status}")
        _, _, key = self._client.headers.get("Authorization", "").partition(" ")
        reason = error.message.replace(key, "...") if key else error.message
        code = error.code if isinstance(error.code, str) else None
        return errors.RefusedError(reason[:REASON_LENGTH], error.param, code)

    def _bound(self, inference: ports.Inference, made: int) -> domain.Usage:
        return domain.Usage(self.tokens_at_most(inference), made)


def _body(inference: ports.Inference, *, stream: bool) -> bytes:
    given = inference.parameters
    body = {name: value for name, value in given.items() if name not in WITHHELD}
    # Set last, so that parameters cannot override them.
    body |= {"model": inference.model, "stream": stream}
    if inference.max_tokens is not None:
        body[LIMITS[0] if LIMITS[0] in given else LIMITS[1]] = inference.max_tokens
    if inference.n > 1:
        body["n"] = inference.n
    if stream:
        body["stream_options"] = {"include_usage": True}
    body["prompt" if isinstance(inference.prompt, str) else "messages"] = inference.prompt
    return to_json(body)


def _parse(content: str | bytes) -> _Answer:
    try:
        return _Answer.model_validate_json(content)
    except ValidationError:
        # `from None`, since the message of the error contains the content.
        raise errors.BackendError(PROVIDER, "its response is not a completion") from None


def _failure(error: httpx2.HTTPError, *, begun: bool = False) -> errors.ServiceError:
    if begun:
        return errors.BackendError(PROVIDER, "the answer broke off")
    if isinstance(error, httpx2.TransportError) and not isinstance(error, httpx2.SSEError):
        return errors.UnavailableError(PROVIDER)
    return errors.BackendError(PROVIDER, "its response cannot be read")


def _size(value: object) -> int:
    """Return an upper bound on the tokens of a JSON value."""
    match value:
        case str():
            return len(value.encode())
        case Mapping() if value.get("type") in ("image_url", "input_audio", "file"):
            return MEDIA
        case Mapping():
            return sum(_size(name) + _size(part) + len('"": ,') for name, part in value.items())
        case list() | tuple():
            return sum(_size(part) + len(", ") for part in value)
        case _:
            return 0 if value is None else len(str(value))
