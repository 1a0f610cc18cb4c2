"""Completions as OpenAI's API shows them, whole and in pieces."""

import json
import secrets
from typing import ClassVar, Literal

from pydantic import BaseModel

from ... import domain
from ...ports import Chunk, Completion
from ..streaming import event

# ASCII: what a model makes may hold half a surrogate pair, which UTF-8 cannot carry.
_json = json.JSONEncoder(separators=(",", ":")).encode

FinishReason = Literal["stop", "length"]


class Usage(BaseModel):
    """Tokens that it took."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class ChatAnswer(BaseModel):
    """What the model says."""

    role: Literal["assistant"]
    content: str
    refusal: None


class ChatChoice(BaseModel):
    """The answer; there is one."""

    index: Literal[0]
    message: ChatAnswer
    logprobs: None
    finish_reason: FinishReason


class ChatCompletion(BaseModel):
    """The answer to a chat."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[ChatChoice]
    usage: Usage


class TextChoice(BaseModel):
    """How the text goes on; there is one way."""

    index: Literal[0]
    text: str
    logprobs: None
    finish_reason: FinishReason


class TextCompletion(BaseModel):
    """How a text goes on."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[TextChoice]
    usage: Usage


class Encoder:
    """Writes the answer to one request, without the models above, which are slow to make.

    They say what it looks like, for the OpenAPI page, and a test holds it to them.
    """

    PREFIX: ClassVar[str]
    WHOLE: ClassVar[str]
    PIECE: ClassVar[str]

    def __init__(self, model: str, created: int, *, include_usage: bool = False) -> None:
        self._id = f"{self.PREFIX}-{secrets.token_hex(16)}"
        self._model = model
        self._created = created
        self._include_usage = include_usage

    def whole(self, completion: Completion) -> bytes:
        """Return the whole answer."""
        choice = self._choice(completion.text, completion.finish_reason)
        return self._write(self.WHOLE, [choice], usage=_usage(completion.usage))

    def events(self, chunk: Chunk, *, first: bool = False) -> bytes:
        """Return the events that tell of a piece."""
        choice = self._piece(chunk.text, chunk.finish_reason, first=first)
        if not self._include_usage:
            return event(self._write(self.PIECE, [choice]))
        events = event(self._write(self.PIECE, [choice], usage=None))
        if chunk.usage:
            events += event(self._write(self.PIECE, [], usage=_usage(chunk.usage)))
        return events

    def _write(self, kind: str, choices: list[dict[str, object]], **more: object) -> bytes:
        return _json(
            {
                "id": self._id,
                "object": kind,
                "created": self._created,
                "model": self._model,
                "choices": choices,
                **more,
            }
        ).encode()

    def _choice(self, text: str, finish_reason: str | None) -> dict[str, object]:
        raise NotImplementedError

    def _piece(self, text: str, finish_reason: str | None, *, first: bool) -> dict[str, object]:
        del first
        return self._choice(text, finish_reason)


class ChatEncoder(Encoder):
    """Of a chat."""

    PREFIX, WHOLE, PIECE = "chatcmpl", "chat.completion", "chat.completion.chunk"

    def _choice(self, text: str, finish_reason: str | None) -> dict[str, object]:
        return {
            "index": 0,
            "message": {"role": "assistant", "content": text, "refusal": None},
            "logprobs": None,
            "finish_reason": finish_reason,
        }

    def _piece(self, text: str, finish_reason: str | None, *, first: bool) -> dict[str, object]:
        delta = {"content": text} if text or first else {}
        return {
            "index": 0,
            "delta": {"role": "assistant", **delta} if first else delta,
            "logprobs": None,
            "finish_reason": finish_reason,
        }


class TextEncoder(Encoder):
    """Of a text."""

    PREFIX, WHOLE, PIECE = "cmpl", "text_completion", "text_completion"

    def _choice(self, text: str, finish_reason: str | None) -> dict[str, object]:
        return {"index": 0, "text": text, "logprobs": None, "finish_reason": finish_reason}


def _usage(usage: domain.Usage) -> dict[str, int]:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total,
    }
