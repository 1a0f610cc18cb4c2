"""Is it up, and does it do what it is for? The first thing to run after a deployment."""

import asyncio
import time
from pathlib import Path

import httpx2
import pytest
from alembic import command
from alembic.config import Config

from gateway.settings import PREFIX

from .people import CHAT, chat

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"
LATENCY = 2.0
"""Seconds that an answer of the echo backend may take: many, since the machine may be busy."""


async def test_alembic_reaches_the_database_of_the_settings_alone(
    postgres_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(PREFIX + "DATABASE_URL", postgres_url)
    # It raises if there is anything left to migrate.
    await asyncio.to_thread(command.check, Config(toml_file=PYPROJECT))


@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/metrics", "/openapi.json"])
async def test_it_answers_200(anybody: httpx2.AsyncClient, path: str) -> None:
    assert (await anybody.get(path)).status_code == 200


async def test_a_chat_is_answered_in_time_and_with_all_fields(client: httpx2.AsyncClient) -> None:
    start = time.monotonic()
    response = await client.post(CHAT, json=chat())
    assert time.monotonic() - start < LATENCY
    assert response.status_code == 200
    answer = response.json()
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
