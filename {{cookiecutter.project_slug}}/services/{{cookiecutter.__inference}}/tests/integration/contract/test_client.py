"""OpenAI's official client, which validates every response against its own types."""

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam

from stratakit.testing import Service

from ..people import Team, created

MESSAGES: list[ChatCompletionMessageParam] = [
    {"role": "system", "content": "be brief"},
    {"role": "user", "content": [{"type": "text", "text": "hello there"}]},
]
TEXT: dict[str, Any] = {"model": "echo", "prompt": "one two three", "max_tokens": 2}
Client = openai.AsyncOpenAI


@pytest.fixture
async def client(service: Service, team: Team) -> AsyncIterator[Client]:
    """OpenAI's client with the team's key."""
    url = f"{service.url}/v1"
    async with Client(
        base_url=url, api_key=team.key, max_retries=0, _strict_response_validation=True
    ) as client:
        yield client


async def ask(client: Client, **more: Any) -> Any:
    asked: dict[str, Any] = {"model": "echo", "messages": MESSAGES, **more}
    return await client.chat.completions.create(**asked)


async def test_a_streamed_chat_adds_up_to_the_whole_one(client: Client) -> None:
    whole = await ask(client)
    assert whole.choices[0].finish_reason == "stop"
    assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens
    stream = await ask(client, stream=True, stream_options={"include_usage": True})
    chunks = [chunk async for chunk in stream]
    pieces = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert "".join(pieces) == whole.choices[0].message.content
    assert chunks[-1].usage == whole.usage


async def test_a_streamed_text_adds_up_to_the_whole_one(client: Client) -> None:
    whole = await client.completions.create(**TEXT)
    assert (len(whole.choices[0].text.split()), whole.choices[0].finish_reason) == (2, "length")
    # Not strict: its type forbids the null that OpenAI itself sends before the last chunk.
    async with Client(base_url=client.base_url, api_key=client.api_key) as lax:
        stream = await lax.completions.create(**TEXT, stream=True)
        pieces = [chunk.choices[0].text async for chunk in stream if chunk.choices]
    assert "".join(pieces) == whole.choices[0].text


async def test_models_are_found(client: Client, admin: httpx2.AsyncClient, team: Team) -> None:
    name = "org/mine:1"
    await created(admin, "aliases", team_id=team.id, alias=name, target="echo", provider="echo")
    listed = [model.id async for model in client.models.list()]
    assert listed == ["echo", name]
    assert [(await client.models.retrieve(each)).id for each in listed] == listed


@pytest.mark.parametrize(
    ("key", "fields", "kind", "told"),
    [
        ("sk-wrong", {}, openai.AuthenticationError, ("invalid_api_key", None)),
        (None, {"model": "nothing"}, openai.NotFoundError, ("model_not_found", "model")),
        (None, {"temperature": 3}, openai.BadRequestError, ("invalid_value", "temperature")),
    ],
)
async def test_an_error_raises_the_clients_exception_for_it(
    client: Client,
    key: str | None,
    fields: dict[str, Any],
    kind: type[openai.APIStatusError],
    told: tuple[str, str | None],
) -> None:
    with pytest.raises(kind) as caught:
        await ask(client.with_options(api_key=key), **fields)
    assert (caught.value.code, caught.value.param) == told
    assert caught.value.type == "invalid_request_error"
