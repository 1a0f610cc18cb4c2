"""Is it up, and does it do what it is for? The first thing to run after a deployment."""

from datetime import timedelta

import httpx2
import pytest

from .people import CHAT, TRIES, chat

LATENCY = timedelta(seconds=2)
"""That an answer of the echo backend may take: much, since the machine may be busy."""


@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/metrics", "/openapi.json"])
async def test_it_answers_200(anybody: httpx2.AsyncClient, path: str) -> None:
    assert (await anybody.get(path)).status_code == 200


async def test_a_chat_is_answered_in_time_and_with_all_fields(client: httpx2.AsyncClient) -> None:
    responses = [await client.post(CHAT, json=chat()) for _ in range(TRIES)]
    assert [response.status_code for response in responses] == [200] * TRIES
    assert min(response.elapsed for response in responses) < LATENCY
    answer = responses[0].json()
    assert answer["object"] == "chat.completion"
    assert {"id", "created", "model", "choices", "usage"} <= answer.keys()
    [choice] = answer["choices"]
    assert choice["message"]["role"] == "assistant"
    assert sorted(choice["message"]["content"].split()) == ["hello", "there"]
    assert choice["finish_reason"] == "stop"
    assert answer["usage"]["total_tokens"] > 0


async def test_a_text_is_gone_on_with(client: httpx2.AsyncClient) -> None:
    response = await client.post("/v1/completions", json={"model": "echo", "prompt": "hello"})
    assert response.status_code == 200
    [choice] = response.json()["choices"]
    assert choice["text"].strip() == "hello"


async def test_the_models_are_listed(client: httpx2.AsyncClient) -> None:
    models = (await client.get("/v1/models")).json()
    assert [model["id"] for model in models["data"]] == ["echo"]
