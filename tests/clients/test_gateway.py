"""The gateway in front of a real engine: clients get exactly the engine's output."""

import asyncio
from typing import Any

import httpx2
import openai
import pytest

from stratakit.testing import Service

from ..people import CHAT, Team, chat, created
from .server import Engine

pytestmark = pytest.mark.usefixtures("priced")

MESSAGES: Any = [{"role": "user", "content": "Hi."}]


async def alias(admin: httpx2.AsyncClient, team: Team, provider: str) -> dict[str, Any]:
    """Give a team a model called "mine"."""
    return await created(
        admin,
        "aliases",
        team_id=team.id,
        alias="mine",
        target="tiny",
        provider=provider,
        parameters={"temperature": 0},
    )


async def test_the_gateway_returns_the_same_output_as_its_engine(
    gateway: Service, llama: Engine, admin: httpx2.AsyncClient, team: Team
) -> None:
    await alias(admin, team, "openai")
    async with openai.AsyncOpenAI(
        base_url=f"{gateway.url}/v1", api_key=team.key, _strict_response_validation=True
    ) as client:
        whole = await client.chat.completions.create(model="mine", messages=MESSAGES, max_tokens=12)
        stream = await client.chat.completions.create(
            model="mine", messages=MESSAGES, max_tokens=12, stream=True
        )
        pieces = [chunk.choices[0].delta.content or "" async for chunk in stream]
    async with llama.client() as direct:
        body = {"model": "tiny", "messages": MESSAGES, "max_tokens": 12, "temperature": 0}
        answer = (await direct.post("/chat/completions", json=body)).json()
    assert whole.choices[0].message.content == answer["choices"][0]["message"]["content"]
    assert "".join(pieces) == whole.choices[0].message.content
    assert whole.usage
    assert whole.usage.total_tokens == answer["usage"]["total_tokens"]


async def test_an_alias_moves_to_another_provider_without_failed_requests(
    admin: httpx2.AsyncClient, client: httpx2.AsyncClient, team: Team
) -> None:
    mine = await alias(admin, team, "echo")

    async def ask() -> str:
        answer = await client.post(CHAT, json=chat("Hi.", model="mine", max_tokens=4))
        assert answer.status_code == 200, answer.text
        return said(answer)

    assert await ask() == "Hi."
    # Answered by either model, while the alias moves.
    asking = asyncio.gather(*(ask() for _ in range(20)))
    change = {"provider": "openai"}
    assert (await admin.patch(f"/admin/aliases/{mine['id']}", json=change)).status_code == 200
    assert await ask() != "Hi."
    await asking
    assert await ask() != "Hi."


def said(answer: httpx2.Response) -> str:
    """Return the text of a completion."""
    content: str = answer.json()["choices"][0]["message"]["content"]
    return content
