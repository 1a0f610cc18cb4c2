"""Smoke tests, the first to run after a deployment: health, pages and completions."""

from datetime import timedelta

import pytest
from httpx2 import AsyncClient

from .people import CHAT, chat

LATENCY = timedelta(seconds=2)
"""Maximum for the fastest of some responses: generous, since the machine may be busy."""


@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/metrics", "/openapi.json"])
async def test_each_public_path_returns_200(anybody: AsyncClient, path: str) -> None:
    assert (await anybody.get(path)).status_code == 200


async def test_a_chat_is_answered_in_time_and_a_text_is_completed(client: AsyncClient) -> None:
    chats = [await client.post(CHAT, json=chat()) for _ in range(5)]
    text = await client.post("/v1/completions", json={"model": "echo", "prompt": "hello"})
    assert {response.status_code for response in (*chats, text)} == {200}
    assert min(response.elapsed for response in chats) < LATENCY
    [choice] = chats[0].json()["choices"]
    assert sorted(choice["message"]["content"].split()) == ["hello", "there"]
    assert text.json()["choices"][0]["text"] == "hello"
