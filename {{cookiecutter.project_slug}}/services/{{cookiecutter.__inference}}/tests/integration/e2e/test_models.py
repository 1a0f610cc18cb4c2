"""The gateway before a real engine: what its clients get is what the engine makes."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx2
import openai
import pytest

from ops.testing import Service, serving

from gateway.settings import PREFIX

from ...engine.server import KEY, Engine
from ..people import ADMIN_TOKEN, CHAT, Team, chat, created

MESSAGES: Any = [{"role": "user", "content": "Hi."}]


@pytest.fixture(scope="module")
def gateway(
    settings: dict[str, str], llama: Engine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """A gateway with the provider `openai`."""
    more = {"OPENAI_URL": f"{llama.url}/v1", "OPENAI_API_KEY": KEY}
    folder = tmp_path_factory.mktemp("gateway")
    with serving("gateway", settings | more, prefix=PREFIX, folder=folder) as gateway:
        yield gateway


@pytest.fixture
async def administrator(gateway: Service) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of that gateway with the administrators' credential."""
    await gateway.ready()
    headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
    async with httpx2.AsyncClient(base_url=gateway.url, headers=headers, timeout=30) as client:
        yield client


@pytest.fixture
async def customer(administrator: httpx2.AsyncClient) -> Team:
    """A team of that gateway."""
    return await Team.make(administrator)


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


async def test_an_engine_answers_through_the_gateway_as_it_does_without(
    gateway: Service, llama: Engine, administrator: httpx2.AsyncClient, customer: Team
) -> None:
    await alias(administrator, customer, "openai")
    async with openai.AsyncOpenAI(
        base_url=f"{gateway.url}/v1", api_key=customer.key, _strict_response_validation=True
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


async def test_a_model_is_swapped_for_one_of_another_provider_while_requests_run(
    gateway: Service, administrator: httpx2.AsyncClient, customer: Team
) -> None:
    mine = await alias(administrator, customer, "echo")
    headers = {"Authorization": f"Bearer {customer.key}"}
    async with httpx2.AsyncClient(base_url=gateway.url, headers=headers, timeout=30) as client:

        async def ask() -> tuple[int, str]:
            response = await client.post(CHAT, json=chat("Hi.", model="mine", max_tokens=4))
            return response.status_code, response.text.partition('"message":')[2]

        asking = asyncio.create_task(asyncio.wait_for(many(ask), timeout=60))
        change = {"provider": "openai"}
        swapped = await administrator.patch(f"/admin/aliases/{mine['id']}", json=change)
        assert swapped.status_code == 200
        statuses = await asking
        assert statuses == {200}
        # Whoever asks after the change gets the other model.
        assert "Hi." not in (await ask())[1]


async def many(ask: Any) -> set[int]:
    """Ask again and again, some at a time; return the statuses."""
    found: set[int] = set()
    for _ in range(8):
        answers = await asyncio.gather(*(ask() for _ in range(4)))
        found |= {status for status, _ in answers}
    return found
