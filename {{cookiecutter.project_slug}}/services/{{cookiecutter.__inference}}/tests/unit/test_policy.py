"""The cache of keys, quotas, aliases and the config, its invalidation, and the models of a team."""

from datetime import timedelta

import pytest

from gateway import domain, errors
from gateway.accounts import Keys
from gateway.api.models import PATH
from gateway.policy import KEPT, Policy

from .. import samples
from .conftest import Customer, World, meanwhile, refusal


@pytest.fixture
def policy(customer: Customer) -> Policy:
    """The policy of the application."""
    found: Policy = customer.app.state.completions.policy
    return found


async def change_key(customer: Customer, field: str, seconds: float = 0) -> None:
    """Set when the key is revoked, or expires, in seconds from now, without an announcement."""
    at = customer.world.clock.now() + timedelta(seconds=seconds)
    await customer.world.database.keys.update(customer.key.id, {field: at})


async def test_known_keys_are_cached_until_expired(customer: Customer, policy: Policy) -> None:
    await change_key(customer, "expires_at", 5)
    assert await policy.config() is await policy.config()
    assert await policy.grant(customer.key.hash) is await policy.grant(customer.key.hash)
    issued = Keys("secret").issue()
    with pytest.raises(errors.CredentialError):
        await policy.grant(issued.hash)
    key = await samples.key(customer.world.database, issued=issued)
    assert (await policy.grant(issued.hash)).key == key
    customer.world.clock.advance(5)
    with pytest.raises(errors.CredentialError):
        await policy.grant(customer.key.hash)


@pytest.mark.parametrize(("version", "seconds"), [("1", 0), ("", 1)])
async def test_a_new_version_or_a_while_invalidates_the_cache(
    customer: Customer, policy: Policy, version: str, seconds: float
) -> None:
    async def target() -> domain.Target:
        return (await policy.route(customer.team.id, "echo"))[0]

    await policy.grant(customer.key.hash)
    assert await target() == domain.Target("echo", "echo")
    await change_key(customer, "revoked_at")
    await customer.world.database.aliases.update(customer.alias.id, {"alias": "echo"})
    policy.renew("")
    customer.world.clock.advance(KEPT.total_seconds() - 1)
    await policy.grant(customer.key.hash)
    assert await target() == domain.Target("echo", "echo")
    policy.renew(version)
    customer.world.clock.advance(seconds)
    with pytest.raises(errors.CredentialError):
        await policy.grant(customer.key.hash)
    # A team's alias hides the config's model of the same name.
    assert await target() == domain.Target("scripted", "real")


async def test_a_lookup_during_a_change_is_not_cached(customer: Customer, policy: Policy) -> None:
    async def change() -> None:
        await change_key(customer, "revoked_at")
        policy.renew("1")

    meanwhile(customer.world.database, "grant", change, after=True)
    assert (await policy.grant(customer.key.hash)).key == customer.key
    with pytest.raises(errors.CredentialError):
        await policy.grant(customer.key.hash)


async def unknown(customer: Customer, model: str) -> str:
    """Check that a model is neither shown nor served, and return the error."""
    shown, served = await customer.client.get(f"{PATH}/{model}"), await customer.post(model=model)
    assert refusal(shown) == refusal(served) == (404, "model", "model_not_found")
    return served.text


async def test_the_list_holds_the_shared_models_and_those_of_the_team(customer: Customer) -> None:
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
async def test_neither_models_of_a_removed_provider_nor_those_that_they_hide_are_listed(
    customer: Customer, world: World, name: str, listed: list[str]
) -> None:
    await world.database.aliases.update(customer.alias.id, {"alias": name})
    del world.backends["scripted"]
    models = (await customer.client.get(PATH)).json()["data"]
    assert [model["id"] for model in models] == listed
    await unknown(customer, name)


@pytest.mark.parametrize("path", [PATH, f"{PATH}/echo"])
@pytest.mark.parametrize("field", ["revoked_at", "expires_at"])
async def test_model_routes_always_check_the_key(customer: Customer, path: str, field: str) -> None:
    await change_key(customer, "expires_at", 1)
    assert (await customer.client.get(path)).status_code == 200
    await change_key(customer, field)
    assert refusal(await customer.client.get(path)) == (401, None, "invalid_api_key")


async def test_a_model_without_a_price_is_neither_listed_nor_served(customer: Customer) -> None:
    await customer.world.configure(prices={})
    assert (await customer.client.get(PATH)).json()["data"] == []
    for model in ("echo", "mine"):
        assert "price" in await unknown(customer, model)
