"""Response bodies of completions in OpenAI's API, whole and streamed."""

import secrets
from typing import Any, Generic, Literal, NotRequired, TypeVar

from pydantic import with_config
from typing_extensions import TypedDict

from ... import domain
from ...ports import Chunk, Completion, FinishReason
from ..streaming import event

Object = dict[str, Any]


class Usage(TypedDict):
    """Number of tokens used."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Choice(TypedDict):
    """Fields of both kinds of choices."""

    index: int
    logprobs: Object | None
    finish_reason: FinishReason


@with_config(extra="allow")
class ChatAnswer(TypedDict):
    """The model's message."""

    role: Literal["assistant"]
    content: str | None
    refusal: str | None
    tool_calls: NotRequired[list[Object]]


class ChatChoice(Choice):
    """A choice of a chat completion."""

    message: ChatAnswer


class TextChoice(Choice):
    """A choice of a text completion."""

    text: str


AnyChoice = TypeVar("AnyChoice", ChatChoice, TextChoice)


class Whole(TypedDict, Generic[AnyChoice]):
    """Fields of both kinds of completions."""

    id: str
    created: int
    model: str
    choices: list[AnyChoice]
    usage: Usage


class ChatCompletion(Whole[ChatChoice]):
    """A chat completion."""

    object: Literal["chat.completion"]


class TextCompletion(Whole[TextChoice]):
    """A text completion."""

    object: Literal["text_completion"]


class TextEncoder:
    """Encoder of the response to one request: a text completion, unless a subclass differs."""

    PREFIX, WHOLE, PIECE = "cmpl", "text_completion", "text_completion"

    def __init__(self, model: str, created: int, *, include_usage: bool = False) -> None:
        id_ = f"{self.PREFIX}-{secrets.token_hex(16)}"
        self._head: Object = {"id": id_, "created": created, "model": model}
        self._include_usage = include_usage
        self._begun = set[int]()
        """Indexes of the choices whose first chunk was encoded."""

    def whole(self, completion: Completion) -> Object:
        """Return the response body of a whole completion: a TextCompletion or ChatCompletion."""
        choices = [{**_choice(each), **self.answer(each)} for each in completion.choices]
        usage = _usage(completion.usage)
        return {**self._head, "object": self.WHOLE, "choices": choices, "usage": usage}

    def events(self, chunk: Chunk) -> bytes:
        """Return the server-sent events of a chunk."""
        said = self.piece(chunk, first=chunk.index not in self._begun)
        self._begun.add(chunk.index)
        choice = {**_choice(chunk), **said, "finish_reason": chunk.finish_reason}
        head = {**self._head, "object": self.PIECE}
        if not self._include_usage:
            return event({**head, "choices": [choice]})
        events = event({**head, "choices": [choice], "usage": None})
        if chunk.usage:
            events += event({**head, "choices": [], "usage": _usage(chunk.usage)})
        return events

    def piece(self, chunk: Chunk, *, first: bool) -> Object:  # noqa: ARG002 - for ChatEncoder
        """Return the fields that a chunk adds to its choice; `first` is for the role in a chat."""
        return {"text": chunk.text}

    def answer(self, chunk: Chunk) -> Object:
        """Return the fields that a whole choice adds to a Choice."""
        return {"text": chunk.text}


class ChatEncoder(TextEncoder):
    """Encoder of the response to a chat."""

    PREFIX, WHOLE, PIECE = "chatcmpl", "chat.completion", "chat.completion.chunk"

    def piece(self, chunk: Chunk, *, first: bool) -> Object:
        """Return the delta."""
        text = {"content": chunk.text} if chunk.text else {}
        said = {"role": "assistant", "content": _content(chunk)} if first else text
        return {"delta": {**said, **(chunk.more or {})}}

    def answer(self, chunk: Chunk) -> Object:
        """Return the message."""
        said = {"role": "assistant", "content": _content(chunk), "refusal": None}
        return {"message": said | chunk.more if chunk.more else said}


def _content(chunk: Chunk) -> str | None:
    # A tool call or a refusal has no content.
    return chunk.text or (None if chunk.more else "")


def _choice(chunk: Chunk) -> Choice:
    # A whole choice always has a reason; for a chunk, the caller replaces it.
    reason = chunk.finish_reason or "stop"
    return {"index": chunk.index, "logprobs": chunk.logprobs, "finish_reason": reason}


def _usage(usage: domain.Usage) -> Usage:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total,
    }
