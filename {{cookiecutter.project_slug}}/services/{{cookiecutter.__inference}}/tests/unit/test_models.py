"""The models that a team may use."""

from datetime import timedelta

import pytest

from gateway.api.models import PATH

from .. import samples
from .conftest import TEXT, Customer, World, refusal

each_path = pytest.mark.parametrize("path", [PATH, f"{PATH}/echo"])
UNKNOWN = (404, "model", "model_not_found")


async def test_the_list_holds_the_models_of_all_and_those_of_the_team(customer: Customer) -> None:
    await samples.SAMPLES["aliases"].add(customer.world.database, "theirs", provider="echo")
    response = await customer.client.get(PATH)
    created = int(customer.alias.created_at.timestamp())
    assert response.status_code == 200
    assert response.json() == {
        "object": "list",
        "data": [
            {"id": "echo", "object": "model", "created": 0, "owned_by": "echo"},
            {"id": "mine", "object": "model", "created": created, "owned_by": "scripted"},
        ],
    }
    assert refusal(await customer.client.get(f"{PATH}/theirs")) == UNKNOWN


@pytest.mark.parametrize(("name", "listed"), [("mine", ["echo"]), ("echo", [])])
async def test_what_a_provider_had_that_is_gone_is_not_listed_nor_what_it_hides(
    customer: Customer, world: World, name: str, listed: list[str]
) -> None:
    await world.database.aliases.update(customer.alias.id, {"alias": name})
    del world.backends["scripted"]
    models = (await customer.client.get(PATH)).json()["data"]
    assert [model["id"] for model in models] == listed
    assert refusal(await customer.client.get(f"{PATH}/{name}")) == UNKNOWN


@each_path
@pytest.mark.parametrize("field", ["revoked_at", "expires_at"])
async def test_a_key_that_is_not_there_or_no_longer_good_answers_401_at_once(
    customer: Customer, world: World, path: str, field: str
) -> None:
    client = customer.client
    assert (await client.get(path)).status_code == 200
    past = world.clock.now() - timedelta(seconds=1)
    await world.database.keys.update(customer.key.id, {field: past})
    assert refusal(await client.get(path)) == (401, None, "invalid_api_key")
    del client.headers["Authorization"]
    assert refusal(await client.get(path)) == (401, None, "invalid_api_key")


async def test_a_model_without_a_price_is_neither_listed_nor_served(customer: Customer) -> None:
    await customer.world.configure(prices={})
    assert (await customer.client.get(PATH)).json()["data"] == []
    for model in ("echo", "mine"):
        assert refusal(await customer.client.get(f"{PATH}/{model}")) == UNKNOWN
        response = await customer.post(TEXT, model=model)
        assert refusal(response) == UNKNOWN
        assert "price" in response.text


@each_path
async def test_a_server_that_is_away_answers_503(customer: Customer, path: str) -> None:
    customer.world.database.down = True
    assert refusal(await customer.client.get(path)) == (503, None, "unavailable")
