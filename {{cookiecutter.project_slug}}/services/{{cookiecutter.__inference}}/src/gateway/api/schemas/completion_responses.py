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


class Head(TypedDict):
    """What every answer begins with, and each piece of one."""

    id: str
    created: int
    model: str


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


class ChatCompletion(Head):
    """The answers to a chat."""

    object: Literal["chat.completion"]
    choices: list[ChatChoice]
    usage: Usage


class TextChoice(Choice):
    """One way in which the text goes on."""

    text: str


class TextCompletion(Head):
    """How a text goes on."""

    object: Literal["text_completion"]
    choices: list[TextChoice]
    usage: Usage


class TextEncoder:
    """Writes the answer to one request; to go on with a text, unless a subclass has other words."""

    PREFIX, PIECE = "cmpl", "text_completion"

    def __init__(self, model: str, created: int, *, include_usage: bool = False) -> None:
        id_ = f"{self.PREFIX}-{secrets.token_hex(16)}"
        self._head: Head = {"id": id_, "created": created, "model": model}
        self._include_usage = include_usage
        self._begun = set[int]()
        """Choices of which the first piece was told."""

    def whole(self, completion: Completion) -> TextCompletion | ChatCompletion:
        """Return the whole answer."""
        return {
            **self._head,
            "object": "text_completion",
            "choices": [{**_choice(each), "text": each.text} for each in completion.choices],
            "usage": _usage(completion.usage),
        }

    def events(self, chunk: Chunk) -> bytes:
        """Return the events that tell of a piece."""
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

    def piece(self, chunk: Chunk, *, first: bool) -> Object:  # noqa: ARG002 - of a chat it counts
        """Return what a piece adds to a choice; the first one says whose it is."""
        return {"text": chunk.text}


class ChatEncoder(TextEncoder):
    """Writes the answer to a chat."""

    PREFIX, PIECE = "chatcmpl", "chat.completion.chunk"

    def whole(self, completion: Completion) -> ChatCompletion:
        """Return the whole answer."""
        return {
            **self._head,
            "object": "chat.completion",
            "choices": [
                {**_choice(each), "message": _message(each)} for each in completion.choices
            ],
            "usage": _usage(completion.usage),
        }

    def piece(self, chunk: Chunk, *, first: bool) -> Object:
        """Return the delta."""
        text = {"content": chunk.text} if chunk.text else {}
        said = {"role": "assistant", "content": _content(chunk)} if first else text
        return {"delta": {**said, **(chunk.more or {})}}


def _message(chunk: Chunk) -> ChatAnswer:
    message: ChatAnswer = {"role": "assistant", "content": _content(chunk), "refusal": None}
    more: Any = chunk.more or {}
    message.update(more)
    return message


def _content(chunk: Chunk) -> str | None:
    # Who calls a tool, or refuses, says nothing.
    return chunk.text or (None if chunk.more else "")


def _choice(chunk: Chunk) -> Choice:
    # A whole one has a reason.
    reason = chunk.finish_reason or "stop"
    return {"index": chunk.index, "logprobs": chunk.logprobs, "finish_reason": reason}


def _usage(usage: domain.Usage) -> Usage:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total,
    }
