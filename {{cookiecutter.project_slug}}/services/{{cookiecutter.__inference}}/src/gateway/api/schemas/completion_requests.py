"""Bodies of requests to models, as OpenAI's API has them.

A field's default is what a model does anyway, as for a null: that is not passed on. Whatever else
is given a backend does, or the request is refused: better an error than another answer than asked
for.
"""

from typing import Annotated, Any, Literal, NotRequired, Self

from pydantic import AfterValidator, BeforeValidator, Field, Strict, model_validator, with_config
from typing_extensions import TypedDict

from ... import domain, errors
from ...ports import Inference
from .fields import Body, example

MESSAGES = 1_000
STOPS = 4
CHOICES = 128


def _whole(value: object) -> object:
    # To JSON 2.0 is an integer; a strict one of pydantic's it is not.
    return int(value) if isinstance(value, float) and value.is_integer() else value


OWN = {"best_of", "max_tokens", "messages", "model", "n", "prompt", "stream", "stream_options"}
"""What the gateway itself understands; all else is the backend's."""
Flag = Annotated[bool, Strict()]
Number = Annotated[float, Strict(), Field(allow_inf_nan=False)]
Whole = Annotated[int, Strict(), BeforeValidator(_whole)]
Tokens = Annotated[Whole, Field(ge=1, le=domain.INTEGER_LIMIT)]
Penalty = Annotated[Number, Field(ge=-2, le=2)]
Stop = Annotated[str, Field(min_length=1)]
Object = dict[str, Any]


class StreamOptions(Body):
    """What a stream holds besides the answer."""

    include_usage: Flag = False
    include_obfuscation: Flag = False


@with_config(extra="allow")
class TextPart(TypedDict):
    """A piece of a message."""

    type: Literal["text"]
    text: str


@with_config(extra="allow")
class MediaPart(TypedDict):
    """A picture, a recording or another file, for models that take one."""

    type: Literal["image_url", "input_audio", "file", "refusal"]


@with_config(extra="allow")
class ChatMessage(TypedDict):
    """One turn of a chat. What else it has is for the model."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: NotRequired[str | Annotated[list[TextPart | MediaPart], Field(min_length=1)] | None]
    tool_calls: NotRequired[list[Object] | None]


def _said(message: ChatMessage) -> ChatMessage:
    if message.get("content") is None and message["role"] != "assistant":
        raise errors.InvalidError("content", "must be given")
    return message


class Sampling(Body):
    """What is asked for of any model."""

    model: Annotated[str, Field(min_length=1, max_length=domain.NAME_LENGTH)]
    max_tokens: Tokens | None = None
    frequency_penalty: Penalty | None = None
    logit_bias: dict[str, Number] | None = Field(default_factory=dict)
    n: Annotated[Whole, Field(ge=1, le=CHOICES)] | None = None
    presence_penalty: Penalty | None = None
    # Every reader of JSON keeps such numbers as they are.
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
            raise errors.InvalidError("stream_options", "is for a request with `stream` alone")
        return self

    def _inference(self, prompt: str | list[Object], features: dict[str, str]) -> Inference:
        """Return it as the gateway knows it; each feature is with the field that asks for it."""
        fields, parameters = type(self).model_fields, dict[str, object]()
        for name in self.model_fields_set - OWN:
            if (value := getattr(self, name)) is not None:
                # None, in the place of what an alias says, is the default of the backend.
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
    """What a client sends to have a chat answered."""

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
        """Return it as the gateway knows it; a null in a message says nothing."""
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
    """What a client sends to have a text gone on with."""

    model_config = example(model="echo", prompt="one two three")

    prompt: str | Annotated[list[str], Field(min_length=1, max_length=1)]
    best_of: Literal[1] | None = None
    echo: Flag | None = False
    logprobs: Annotated[Whole, Field(ge=0, le=5)] | None = None
    suffix: str | None = ""

    def inference(self) -> Inference:
        """Return it as the gateway knows it."""
        return self._inference(self.prompt if isinstance(self.prompt, str) else self.prompt[0], {})
