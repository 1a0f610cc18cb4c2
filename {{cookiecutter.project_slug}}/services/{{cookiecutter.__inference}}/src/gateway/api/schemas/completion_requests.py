"""Request bodies of completions in OpenAI's API.

A field's default is what models do anyway, as for null: neither is passed on. Any other value must
be supported by the backend, or the request is refused: an error is better than a wrong response.
"""

from typing import Annotated, Any, Literal, NotRequired, Self

from pydantic import AfterValidator, BeforeValidator, Field, Strict, model_validator, with_config
from typing_extensions import TypedDict

from ... import domain, errors
from ...ports import Inference
from . import Body, example

MESSAGES = 1_000
STOPS = 4
CHOICES = 128


def _whole(value: object) -> object:
    # JSON Schema accepts 2.0 as an integer; pydantic in strict mode does not.
    return int(value) if isinstance(value, float) and value.is_integer() else value


OWN = {"best_of", "max_tokens", "messages", "model", "n", "prompt", "stream", "stream_options"}
"""Fields that the gateway itself handles; all others are for the backend."""
Flag = Annotated[bool, Strict()]
Number = Annotated[float, Strict(), Field(allow_inf_nan=False)]
Whole = Annotated[int, Strict(), BeforeValidator(_whole)]
Tokens = Annotated[Whole, Field(ge=1, le=domain.INTEGER_LIMIT)]
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
    n: Annotated[Whole, Field(ge=1, le=CHOICES)] | None = None
    presence_penalty: Penalty | None = None
    # The range of integers that every JSON parser represents exactly.
    seed: Annotated[Whole, Field(ge=-(2**53), le=2**53)] | None = None
    stop: Stop | Annotated[list[Stop], Field(max_length=STOPS)] | None = Field(default_factory=list)
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
    top_logprobs: Annotated[Whole, Field(ge=0, le=20)] | None = 0
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
    logprobs: Annotated[Whole, Field(ge=0, le=5)] | None = None
    suffix: str | None = ""

    def inference(self) -> Inference:
        """Return it as an Inference."""
        return self._inference(self.prompt if isinstance(self.prompt, str) else self.prompt[0], {})
