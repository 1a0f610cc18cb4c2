"""The models that a team may use."""

from datetime import timedelta

import pytest

from gateway.api.models import PATH

from .. import samples
from .conftest import Customer, World, refusal


async def unknown(customer: Customer, model: str) -> str:
    """See that a model is neither shown nor served, and return what is said of it."""
    shown, served = await customer.client.get(f"{PATH}/{model}"), await customer.post(model=model)
    assert refusal(shown) == refusal(served) == (404, "model", "model_not_found")
    return served.text


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
    assert "has no access" in await unknown(customer, "theirs")


@pytest.mark.parametrize(("name", "listed"), [("mine", ["echo"]), ("echo", [])])
async def test_what_a_provider_had_that_is_gone_is_not_listed_nor_what_it_hides(
    customer: Customer, world: World, name: str, listed: list[str]
) -> None:
    await world.database.aliases.update(customer.alias.id, {"alias": name})
    del world.backends["scripted"]
    models = (await customer.client.get(PATH)).json()["data"]
    assert [model["id"] for model in models] == listed
    await unknown(customer, name)


@pytest.mark.parametrize("path", [PATH, f"{PATH}/echo"])
@pytest.mark.parametrize("field", ["revoked_at", "expires_at"])
async def test_the_key_is_looked_up_at_each_request(
    customer: Customer, world: World, path: str, field: str
) -> None:
    assert (await customer.client.get(path)).status_code == 200
    now = world.clock.now()
    times = {"expires_at": now + timedelta(seconds=1), field: now}
    await world.database.keys.update(customer.key.id, times)
    assert refusal(await customer.client.get(path)) == (401, None, "invalid_api_key")


async def test_a_model_without_a_price_is_neither_listed_nor_served(customer: Customer) -> None:
    await customer.world.configure(prices={})
    assert (await customer.client.get(PATH)).json()["data"] == []
    for model in ("echo", "mine"):
        assert "price" in await unknown(customer, model)
