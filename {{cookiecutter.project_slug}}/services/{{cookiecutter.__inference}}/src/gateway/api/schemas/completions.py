"""Request and response bodies of completions in OpenAI's API, whole and streamed.

A field's default is what models do anyway, as for null: neither is passed on. Any other value must
be supported by the backend, or the request is refused: an error is better than a wrong response.
"""

import secrets
from typing import Annotated, Any, Literal, NotRequired, Self

from pydantic import AfterValidator, BeforeValidator, Field, Strict, model_validator, with_config
from pydantic_core import to_json
from typing_extensions import TypedDict

from ... import domain, errors
from ...ports import Chunk, Completion, FinishReason, Inference
from ..streaming import event
from . import Body, example

MESSAGES = 1_000


def _integer(value: object) -> object:
    # JSON Schema accepts 2.0 as an integer; pydantic in strict mode does not.
    return int(value) if isinstance(value, float) and value.is_integer() else value


OWN = {"best_of", "max_tokens", "messages", "model", "n", "prompt", "stream", "stream_options"}
"""Fields that the gateway itself handles; all others are for the backend."""
Flag = Annotated[bool, Strict()]
Number = Annotated[float, Strict(), Field(allow_inf_nan=False)]
Integer = Annotated[int, Strict(), BeforeValidator(_integer)]
Tokens = Annotated[Integer, Field(ge=1, le=domain.INTEGER_LIMIT)]
Penalty = Annotated[Number, Field(ge=-2, le=2)]
Stop = Annotated[str, Field(min_length=1)]
Object = dict[str, Any]


class StreamOptions(Body):
    """Options of a stream."""

    include_usage: Flag = False
    include_obfuscation: Flag = False


@with_config(extra="allow")
class TextPart(TypedDict):
    """A text in a message."""

    type: Literal["text"]
    text: str


@with_config(extra="allow")
class MediaPart(TypedDict):
    """An image, a recording or another file in a message, for models that support it."""

    type: Literal["image_url", "input_audio", "file", "refusal"]


@with_config(extra="allow")
class ChatMessage(TypedDict):
    """A message of a chat. Other fields are passed on to the model."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: NotRequired[str | Annotated[list[TextPart | MediaPart], Field(min_length=1)] | None]
    tool_calls: NotRequired[list[Object] | None]


def _said(message: ChatMessage) -> ChatMessage:
    if message.get("content") is None and message["role"] != "assistant":
        raise errors.InvalidError("content", "must be given")
    return message


class Sampling(Body):
    """Fields of all requests for completions."""

    model: Annotated[str, Field(min_length=1, max_length=domain.NAME_LENGTH)]
    max_tokens: Tokens | None = None
    frequency_penalty: Penalty | None = None
    logit_bias: dict[str, Number] | None = Field(default_factory=dict)
    n: Annotated[Integer, Field(ge=1, le=128)] | None = None
    presence_penalty: Penalty | None = None
    # The range of integers that every JSON parser represents exactly.
    seed: Annotated[Integer, Field(ge=-(2**53), le=2**53)] | None = None
    stop: Stop | Annotated[list[Stop], Field(max_length=4)] | None = Field(default_factory=list)
    stream: Flag | None = None
    stream_options: StreamOptions | None = None
    temperature: Annotated[Number, Field(ge=0, le=2)] | None = None
    top_p: Annotated[Number, Field(ge=0, le=1)] | None = None
    user: str | None = None

    @model_validator(mode="after")
    def _options_of_a_stream(self) -> Self:
        if self.stream_options is not None and not self.stream:
            raise errors.InvalidError("stream_options", "is only allowed with `stream`")
        return self

    def _inference(self, prompt: str | list[Object], features: dict[str, str]) -> Inference:
        """Return it as an Inference; `features` maps each feature to the field that asks for it."""
        fields, parameters = type(self).model_fields, dict[str, object]()
        for name in self.model_fields_set - OWN:
            if (value := getattr(self, name)) is not None:
                # None overrides an alias's parameter with the backend's default.
                neutral = value == fields[name].get_default(call_default_factory=True)
                parameters[name] = None if neutral else value
        return Inference(
            model=self.model,
            prompt=prompt,
            max_tokens=getattr(self, "max_completion_tokens", None) or self.max_tokens,
            n=self.n or 1,
            parameters=parameters,
            features={"n": "n"} | features if self.n and self.n > 1 else features,
        )


class ChatRequest(Sampling):
    """A request for a chat completion."""

    model_config = example(model="echo", messages=[{"role": "user", "content": "hello there"}])

    messages: Annotated[
        list[Annotated[ChatMessage, AfterValidator(_said)]],
        Field(min_length=1, max_length=MESSAGES),
    ]
    audio: None = None
    function_call: str | Object | None = None
    functions: list[Object] | None = Field(default_factory=list)
    logprobs: Flag | None = False
    max_completion_tokens: Tokens | None = None
    metadata: dict[str, str] | None = Field(default_factory=dict)
    modalities: list[str] | None = Field(default_factory=lambda: ["text"])
    parallel_tool_calls: Flag | None = True
    prediction: Object | None = None
    prompt_cache_key: str | None = None
    reasoning_effort: str | None = None
    response_format: Object | None = Field(default_factory=lambda: {"type": "text"})
    safety_identifier: str | None = None
    service_tier: str | None = "auto"
    store: Flag | None = False
    tool_choice: str | Object | None = "auto"
    tools: list[Object] | None = Field(default_factory=list)
    top_logprobs: Annotated[Integer, Field(ge=0, le=20)] | None = 0
    verbosity: str | None = "medium"
    web_search_options: None = None

    def inference(self) -> Inference:
        """Return it as an Inference, without the nulls in messages."""
        features: dict[str, str] = {
            part["type"]: f"messages[{at}].content[{number}]"
            for at, message in enumerate(self.messages)
            if isinstance(content := message.get("content"), list)
            for number, part in enumerate(content)
            if part["type"] != "text"
        }
        messages = [
            {name: part for name, part in message.items() if part is not None}
            for message in self.messages
        ]
        return self._inference(messages, features)


class CompletionRequest(Sampling):
    """A request for a text completion."""

    model_config = example(model="echo", prompt="one two three")

    prompt: str | Annotated[list[str], Field(min_length=1, max_length=1)]
    best_of: Literal[1] | None = None
    echo: Flag | None = False
    logprobs: Annotated[Integer, Field(ge=0, le=5)] | None = None
    suffix: str | None = ""

    def inference(self) -> Inference:
        """Return it as an Inference."""
        return self._inference(self.prompt if isinstance(self.prompt, str) else self.prompt[0], {})


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


class Whole(TypedDict):
    """Fields of both kinds of completions."""

    id: str
    created: int
    model: str
    usage: Usage


class ChatCompletion(Whole):
    """A chat completion."""

    object: Literal["chat.completion"]
    choices: list[ChatChoice]


class TextCompletion(Whole):
    """A text completion."""

    object: Literal["text_completion"]
    choices: list[TextChoice]


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
        choice = {**_choice(chunk), **said}
        head = {**self._head, "object": self.PIECE}
        if not self._include_usage:
            return event(_json({**head, "choices": [choice]}))
        events = event(_json({**head, "choices": [choice], "usage": None}))
        if chunk.usage:
            events += event(_json({**head, "choices": [], "usage": _usage(chunk.usage)}))
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


def _json(value: object) -> bytes:
    # In ASCII, since some clients take U+2028 and others for the end of a line.
    return to_json(value, ensure_ascii=True)


def _content(chunk: Chunk) -> str | None:
    # A tool call or a refusal has no content.
    return chunk.text or (None if chunk.more else "")


def _choice(chunk: Chunk) -> Object:
    reason = chunk.finish_reason
    return {"index": chunk.index, "logprobs": chunk.logprobs, "finish_reason": reason}


def _usage(usage: domain.Usage) -> Usage:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total,
    }
