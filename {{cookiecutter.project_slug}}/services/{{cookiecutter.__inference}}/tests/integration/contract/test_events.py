"""Server-sent events, byte by byte: what no client library would notice."""

import json
from typing import Any

import httpx2
import pytest

from ..people import CHAT, chat

COMPLETIONS = "/v1/completions"
BODIES = {
    CHAT: chat("one two three"),
    COMPLETIONS: {"model": "echo", "prompt": "one two three"},
}


async def events(client: httpx2.AsyncClient, path: str, **more: object) -> list[str]:
    """Return the data of each event."""
    async with client.stream("POST", path, json={**BODIES[path], "stream": True, **more}) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].partition(";")[0] == "text/event-stream"
        assert answer.headers["cache-control"] == "no-cache"
        raw = await answer.aread()
    *framed, rest = raw.decode().split("\n\n")
    assert rest == ""
    assert all(event.startswith("data: ") and "\n" not in event for event in framed)
    return [event.removeprefix("data: ") for event in framed]


async def chunks(client: httpx2.AsyncClient, path: str, **more: object) -> list[dict[str, Any]]:
    """Return the events before the last, which says that it was the last."""
    *data, done = await events(client, path, **more)
    assert done == "[DONE]"
    assert "[DONE]" not in data
    return [json.loads(each) for each in data]


def text(choice: dict[str, Any]) -> str:
    """Return what a choice adds to the answer."""
    return str(choice["delta"].get("content") or "" if "delta" in choice else choice["text"])


@pytest.mark.parametrize("path", BODIES)
async def test_a_stream_is_framed_and_ends_with_one_done(
    client: httpx2.AsyncClient, path: str
) -> None:
    assert (await events(client, path)).count("[DONE]") == 1


@pytest.mark.parametrize("path", BODIES)
async def test_each_chunk_is_of_the_same_answer(client: httpx2.AsyncClient, path: str) -> None:
    found = await chunks(client, path)
    assert len({(each["id"], each["created"], each["model"]) for each in found}) == 1
    kind = "chat.completion.chunk" if path == CHAT else "text_completion"
    assert {each["object"] for each in found} == {kind}


@pytest.mark.parametrize("path", BODIES)
async def test_the_reason_comes_once_and_last(client: httpx2.AsyncClient, path: str) -> None:
    found = await chunks(client, path)
    reasons = [each["choices"][0]["finish_reason"] for each in found]
    assert reasons == [*[None] * (len(found) - 1), "stop"]


@pytest.mark.parametrize("path", BODIES)
async def test_the_pieces_are_the_whole_answer(client: httpx2.AsyncClient, path: str) -> None:
    [choice] = (await client.post(path, json=BODIES[path])).json()["choices"]
    whole = choice["message"]["content"] if path == CHAT else choice["text"]
    found = await chunks(client, path)
    assert "".join(text(each["choices"][0]) for each in found) == whole
    assert len(found) >= 3


async def test_the_role_comes_with_the_first_chunk_alone(client: httpx2.AsyncClient) -> None:
    first, *others = (each["choices"][0]["delta"] for each in await chunks(client, CHAT))
    assert first["role"] == "assistant"
    assert not any("role" in delta for delta in others)


@pytest.mark.parametrize("path", BODIES)
async def test_the_usage_comes_last_if_it_is_asked_for(
    client: httpx2.AsyncClient, path: str
) -> None:
    asked = {"stream_options": {"include_usage": True}}
    *others, last = await chunks(client, path, **asked)
    whole = (await client.post(path, json=BODIES[path])).json()
    assert last["choices"] == []
    assert last["usage"] == whole["usage"]
    assert all(each["usage"] is None for each in others)


@pytest.mark.parametrize("path", BODIES)
async def test_what_is_wrong_before_the_first_event_is_an_answer_of_its_own(
    client: httpx2.AsyncClient, path: str
) -> None:
    response = await client.post(path, json={**BODIES[path], "stream": True, "model": "nothing"})
    assert response.status_code == 404
    assert response.json()["error"]["code"] == "model_not_found"
