"""The official client, which checks every answer against the API that it was made from."""

from collections.abc import AsyncIterator, Callable

import httpx2
import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam

from stratakit.testing import Service

from ..people import CHAT, Connect, Team, chat, created

MESSAGES: list[ChatCompletionMessageParam] = [
    {"role": "system", "content": "be brief"},
    {"role": "user", "content": [{"type": "text", "text": "hello there"}]},
]
Official = Callable[[str], openai.AsyncOpenAI]


@pytest.fixture
async def official(service: Service) -> AsyncIterator[Official]:
    """Make official clients of the gateway."""
    clients = []

    def make(key: str) -> openai.AsyncOpenAI:
        clients.append(
            openai.AsyncOpenAI(
                base_url=f"{service.url}/v1",
                api_key=key,
                max_retries=0,
                _strict_response_validation=True,
            )
        )
        return clients[-1]

    yield make
    for client in clients:
        await client.close()


@pytest.fixture
def client(official: Official, team: Team) -> openai.AsyncOpenAI:
    """An official client with the team's key."""
    return official(team.key)


async def test_a_chat_is_answered(client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(model="echo", messages=MESSAGES)
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


async def test_a_text_is_gone_on_with(client: openai.AsyncOpenAI) -> None:
    answer = await client.completions.create(model="echo", prompt="one two three", max_tokens=2)
    assert len(answer.choices[0].text.split()) == 2
    assert answer.choices[0].finish_reason == "length"


async def test_a_streamed_chat_is_the_whole_one_in_pieces(client: openai.AsyncOpenAI) -> None:
    whole = await client.chat.completions.create(model="echo", messages=MESSAGES)
    stream = await client.chat.completions.create(
        model="echo",
        messages=MESSAGES,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = [chunk async for chunk in stream]
    pieces = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert "".join(pieces) == whole.choices[0].message.content
    assert chunks[-1].usage == whole.usage


async def test_a_streamed_text_is_the_whole_one_in_pieces(client: openai.AsyncOpenAI) -> None:
    whole = await client.completions.create(model="echo", prompt="one two three")
    # Not strict: its type has no place for the null that OpenAI itself sends before the last chunk.
    async with openai.AsyncOpenAI(base_url=client.base_url, api_key=client.api_key) as lax:
        stream = await lax.completions.create(model="echo", prompt="one two three", stream=True)
        pieces = [chunk.choices[0].text async for chunk in stream if chunk.choices]
    assert "".join(pieces) == whole.choices[0].text


async def test_a_stream_is_framed_and_ends_with_one_done(connect: Connect, team: Team) -> None:
    body = chat("one two three", stream=True)
    async with connect(team.key).stream("POST", CHAT, json=body) as answer:
        assert answer.headers["content-type"].partition(";")[0] == "text/event-stream"
        raw = (await answer.aread()).decode()
    *events, done, rest = raw.split("\n\n")
    assert (len(events), done, rest) == (4, "data: [DONE]", "")
    assert all(event.startswith("data: {") and "\n" not in event for event in events)


async def test_models_are_listed_and_found(client: openai.AsyncOpenAI) -> None:
    listed = [model.id async for model in client.models.list()]
    assert listed == ["echo"]
    assert (await client.models.retrieve("echo")).id == "echo"


async def test_headers_say_what_is_left(client: openai.AsyncOpenAI) -> None:
    raw = await client.chat.completions.with_raw_response.create(model="echo", messages=MESSAGES)
    assert int(raw.headers["x-ratelimit-remaining-requests"]) > 0
    assert int(raw.headers["x-ratelimit-remaining-tokens"]) > 0
    assert raw.headers["x-request-id"]


async def test_a_wrong_key_is_an_authentication_error(official: Official) -> None:
    with pytest.raises(openai.AuthenticationError) as caught:
        await official("sk-wrong").models.list()
    assert caught.value.code == "invalid_api_key"


async def test_an_unknown_model_is_not_found(client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        await client.chat.completions.create(model="nothing", messages=MESSAGES)
    assert caught.value.code == "model_not_found"


async def test_a_wrong_value_is_a_bad_request_that_names_it(client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await client.chat.completions.create(model="echo", messages=MESSAGES, temperature=3)
    assert caught.value.param == "temperature"
    assert caught.value.type == "invalid_request_error"


async def test_a_quota_that_is_used_up_is_a_rate_limit_error(
    client: openai.AsyncOpenAI, admin: httpx2.AsyncClient, team: Team
) -> None:
    await created(
        admin, "quotas", team_id=team.id, requests_per_minute=1, tokens_per_minute=100_000
    )
    await client.chat.completions.create(model="echo", messages=MESSAGES)
    with pytest.raises(openai.RateLimitError) as caught:
        await client.chat.completions.create(model="echo", messages=MESSAGES)
    assert caught.value.code == "rate_limit_exceeded"
    assert 0 < int(caught.value.response.headers["retry-after"]) <= 60
    assert caught.value.response.headers["x-ratelimit-remaining-requests"] == "0"
