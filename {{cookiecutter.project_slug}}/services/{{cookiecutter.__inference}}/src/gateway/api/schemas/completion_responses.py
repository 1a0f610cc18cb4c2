"""Completions as OpenAI's API shows them, whole and in pieces."""

import secrets
from typing import Any, Literal, NotRequired

from pydantic import with_config
from typing_extensions import TypedDict

from ... import domain
from ...ports import Chunk, Completion, FinishReason
from ..streaming import event

Object = dict[str, Any]


class Usage(TypedDict):
    """Tokens that it took."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Answer(TypedDict):
    """What both kinds of answers have."""

    id: str
    created: int
    model: str
    usage: Usage


class Choice(TypedDict):
    """What both kinds of choices have."""

    index: int
    logprobs: Object | None
    finish_reason: FinishReason


@with_config(extra="allow")
class ChatAnswer(TypedDict):
    """What the model says."""

    role: Literal["assistant"]
    content: str | None
    refusal: str | None
    tool_calls: NotRequired[list[Object]]


class ChatChoice(Choice):
    """One answer."""

    message: ChatAnswer


class ChatCompletion(Answer):
    """The answers to a chat."""

    object: Literal["chat.completion"]
    choices: list[ChatChoice]


class TextChoice(Choice):
    """One way in which the text goes on."""

    text: str


class TextCompletion(Answer):
    """How a text goes on."""

    object: Literal["text_completion"]
    choices: list[TextChoice]


class TextEncoder:
    """Writes the answer to one request; to go on with a text, unless a subclass has other words."""

    PREFIX, WHOLE, PIECE = "cmpl", "text_completion", "text_completion"

    def __init__(self, model: str, created: int, *, include_usage: bool = False) -> None:
        id_ = f"{self.PREFIX}-{secrets.token_hex(16)}"
        self._head = {"id": id_, "created": created, "model": model}
        self._include_usage = include_usage
        self._begun = set[int]()
        """Choices of which the first piece was told."""

    def whole(self, completion: Completion) -> Object:
        """Return the whole answer, a ChatCompletion or a TextCompletion."""
        choices = [_choice(each, self.said(each)) for each in completion.choices]
        usage = _usage(completion.usage)
        return {**self._head, "object": self.WHOLE, "choices": choices, "usage": usage}

    def events(self, chunk: Chunk) -> bytes:
        """Return the events that tell of a piece."""
        choice = _choice(chunk, self.piece(chunk, first=chunk.index not in self._begun))
        self._begun.add(chunk.index)
        head = {**self._head, "object": self.PIECE}
        if not self._include_usage:
            return event({**head, "choices": [choice]})
        events = event({**head, "choices": [choice], "usage": None})
        if chunk.usage:
            events += event({**head, "choices": [], "usage": _usage(chunk.usage)})
        return events

    def said(self, chunk: Chunk) -> Object:
        """Return what a whole choice says."""
        return {"text": chunk.text}

    def piece(self, chunk: Chunk, *, first: bool) -> Object:  # noqa: ARG002 - of a chat it counts
        """Return what a piece adds to a choice; the first one says whose it is."""
        return {"text": chunk.text}


class ChatEncoder(TextEncoder):
    """Writes the answer to a chat."""

    PREFIX, WHOLE, PIECE = "chatcmpl", "chat.completion", "chat.completion.chunk"

    def said(self, chunk: Chunk) -> Object:
        """Return the message."""
        return {"message": {**_spoken(chunk), "refusal": None, **(chunk.more or {})}}

    def piece(self, chunk: Chunk, *, first: bool) -> Object:
        """Return the delta."""
        text = {"content": chunk.text} if chunk.text else {}
        return {"delta": {**(_spoken(chunk) if first else text), **(chunk.more or {})}}


def _spoken(chunk: Chunk) -> Object:
    # Who calls a tool, or refuses, says nothing.
    return {"role": "assistant", "content": chunk.text or (None if chunk.more else "")}


def _choice(chunk: Chunk, said: Object) -> Object:
    ending = {"logprobs": chunk.logprobs, "finish_reason": chunk.finish_reason}
    return {"index": chunk.index, **said, **ending}


def _usage(usage: domain.Usage) -> Usage:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total,
    }
