"""Bodies of requests to models, as OpenAI's API has them.

A field that the gateway would ignore is refused: better an error than another answer than asked
for.
"""

from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, Strict

from ... import completion_service, domain
from ...ports import Message
from .fields import Body

MESSAGES = 1_000
STOPS = 4


def _whole(value: object) -> object:
    # To JSON 2.0 is an integer; a strict one of pydantic's it is not.
    return int(value) if isinstance(value, float) and value.is_integer() else value


Flag = Annotated[bool, Strict()]
Number = Annotated[float, Strict(), Field(allow_inf_nan=False)]
Tokens = Annotated[int, Strict(), Field(ge=1, le=domain.INTEGER_LIMIT), BeforeValidator(_whole)]
Penalty = Annotated[Number, Field(ge=-2, le=2)]
# Every reader of JSON keeps such numbers as they are.
Seed = Annotated[int, Strict(), Field(ge=-(2**53), le=2**53), BeforeValidator(_whole)]
Stop = Annotated[str, Field(min_length=1)]


class StreamOptions(Body):
    """What a stream holds besides the answer."""

    include_usage: Flag = False


class Sampling(Body):
    """What is asked for of any model."""

    PARAMETERS: ClassVar[tuple[str, ...]] = (
        "frequency_penalty",
        "presence_penalty",
        "seed",
        "stop",
        "temperature",
        "top_p",
    )

    model: Annotated[str, Field(min_length=1, max_length=domain.NAME_LENGTH)]
    max_tokens: Tokens | None = None
    frequency_penalty: Penalty | None = None
    presence_penalty: Penalty | None = None
    seed: Seed | None = None
    stop: Stop | Annotated[list[Stop], Field(min_length=1, max_length=STOPS)] | None = None
    temperature: Annotated[Number, Field(ge=0, le=2)] | None = None
    top_p: Annotated[Number, Field(ge=0, le=1)] | None = None
    n: Literal[1] | None = None
    stream: Flag | None = None
    stream_options: StreamOptions | None = None
    user: str | None = None

    def parameters(self) -> dict[str, object]:
        """Return what the backend is told about how to choose tokens."""
        given = ((name, getattr(self, name)) for name in self.PARAMETERS)
        return {name: value for name, value in given if value is not None}

    def include_usage(self) -> bool:
        """Return whether a stream ends with the tokens that it took."""
        return self.stream_options is not None and self.stream_options.include_usage


class TextPart(Body):
    """A piece of a message."""

    type: Literal["text"]
    text: str


class ChatMessage(Body):
    """One turn of a chat."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | Annotated[list[TextPart], Field(min_length=1)]
    name: str | None = None
    # Clients send back what they were answered.
    refusal: None = None

    def message(self) -> Message:
        """Return it as backends know it."""
        if isinstance(self.content, str):
            return Message(self.role, self.content)
        return Message(self.role, "\n".join(part.text for part in self.content))


class ChatRequest(Sampling):
    """What a client sends to have a chat answered."""

    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=MESSAGES)]
    max_completion_tokens: Tokens | None = None

    def request(self) -> completion_service.CompletionRequest:
        """Return it as the gateway knows it."""
        return completion_service.CompletionRequest(
            model=self.model,
            prompt=tuple([message.message() for message in self.messages]),
            max_tokens=self.max_completion_tokens or self.max_tokens,
            parameters=self.parameters(),
        )


class CompletionRequest(Sampling):
    """What a client sends to have a text gone on with."""

    prompt: str | Annotated[list[str], Field(min_length=1, max_length=1)]

    def request(self) -> completion_service.CompletionRequest:
        """Return it as the gateway knows it."""
        return completion_service.CompletionRequest(
            model=self.model,
            prompt=self.prompt if isinstance(self.prompt, str) else self.prompt[0],
            max_tokens=self.max_tokens,
            parameters=self.parameters(),
        )
