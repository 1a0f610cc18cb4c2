"""The models that a team may use."""

from datetime import timedelta

import httpx2
import openai
import pytest
from fastapi import FastAPI

from gateway import domain
from gateway.accounts import Keys
from gateway.api.models import PATH

from .conftest import SECRET, World
from .test_completions import refusal

pytestmark = pytest.mark.usefixtures("key", "alias")
each_path = pytest.mark.parametrize("path", [PATH, f"{PATH}/echo"])
UNKNOWN = (404, "model", "model_not_found")


async def test_the_list_holds_the_models_of_all_and_those_of_the_team(
    client: httpx2.AsyncClient, world: World, alias: domain.ModelAlias
) -> None:
    other = await world.team("other")
    await world.database.aliases.create(
        domain.NewModelAlias(team_id=other.id, alias="theirs", target="x", provider="echo")
    )
    response = await client.get(PATH)
    created = int(alias.created_at.timestamp())
    assert response.status_code == 200
    assert response.json() == {
        "object": "list",
        "data": [
            {"id": "echo", "object": "model", "created": 0, "owned_by": "echo"},
            {"id": "mine", "object": "model", "created": created, "owned_by": "scripted"},
        ],
    }
    assert refusal(await client.get(f"{PATH}/theirs")) == UNKNOWN


@pytest.mark.parametrize(("name", "listed"), [("mine", ["echo"]), ("echo", [])])
async def test_what_a_provider_had_that_is_gone_is_not_listed_nor_what_it_hides(
    client: httpx2.AsyncClient, world: World, alias: domain.ModelAlias, name: str, listed: list[str]
) -> None:
    await world.database.aliases.update(alias.id, {"alias": name})
    del world.backends["scripted"]
    assert [model["id"] for model in (await client.get(PATH)).json()["data"]] == listed
    assert refusal(await client.get(f"{PATH}/{name}")) == UNKNOWN


@each_path
@pytest.mark.parametrize("field", ["revoked_at", "expires_at"])
async def test_a_key_that_is_not_there_or_no_longer_good_answers_401_at_once(
    client: httpx2.AsyncClient, world: World, key: str, path: str, field: str
) -> None:
    assert (await client.get(path)).status_code == 200
    kept = (await world.database.grant(Keys(SECRET).hash(key))).key
    await world.database.keys.update(kept.id, {field: world.clock.now() - timedelta(seconds=1)})
    assert refusal(await client.get(path)) == (401, None, "invalid_api_key")
    del client.headers["Authorization"]
    assert refusal(await client.get(path)) == (401, None, "invalid_api_key")


async def test_a_model_without_a_price_is_neither_listed_nor_served(
    client: httpx2.AsyncClient, world: World
) -> None:
    await world.configure(prices={})
    assert (await client.get(PATH)).json()["data"] == []
    for model in ("echo", "mine"):
        assert refusal(await client.get(f"{PATH}/{model}")) == UNKNOWN
        response = await client.post("/v1/completions", json={"model": model, "prompt": ""})
        assert refusal(response) == UNKNOWN
        assert "price" in response.text


@each_path
async def test_a_server_that_is_away_answers_503(
    client: httpx2.AsyncClient, world: World, path: str
) -> None:
    world.database.down = True
    assert refusal(await client.get(path)) == (503, None, "unavailable")


async def test_the_official_client_finds_a_model_by_a_name_with_slashes(
    app: FastAPI, key: str, world: World, alias: domain.ModelAlias
) -> None:
    await world.database.aliases.update(alias.id, {"alias": "org/mine:1"})
    transport = httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app))
    async with openai.AsyncOpenAI(
        api_key=key,
        base_url="http://service/v1",
        http_client=transport,
        max_retries=0,
        _strict_response_validation=True,
    ) as client:
        assert (await client.models.retrieve("org/mine:1")).owned_by == "scripted"
