"""What is remembered of keys, quotas, aliases and the config, and when it is forgotten."""

import asyncio
from datetime import timedelta

import pytest

from gateway import domain, errors
from gateway.accounts import Keys
from gateway.policy import KEPT, Policy
from gateway.ports import Grant

from .. import samples
from .conftest import Customer


@pytest.fixture
def policy(customer: Customer) -> Policy:
    """The one of the application."""
    found: Policy = customer.app.state.policy
    return found


async def change_key(customer: Customer, field: str, seconds: float = 0) -> None:
    """Let the key be revoked, or expire, in so many seconds, and tell nobody."""
    at = customer.world.clock.now() + timedelta(seconds=seconds)
    await customer.world.database.keys.update(customer.key.id, {field: at})


async def test_what_was_found_is_remembered_but_not_that_there_is_no_such_key_and_keys_expire(
    customer: Customer, policy: Policy
) -> None:
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
async def test_another_version_or_a_minute_forgets_what_was_looked_up(
    customer: Customer, policy: Policy, version: str, seconds: float
) -> None:
    async def target() -> domain.Target:
        return (await policy.route(customer.team.id, "echo")).target

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
    # A team's own hides one of the config.
    assert await target() == domain.Target("scripted", "real")


async def test_what_was_being_looked_up_at_a_change_is_not_remembered(
    customer: Customer, policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, may = asyncio.Event(), asyncio.Event()
    old = await customer.world.database.grant(customer.key.hash)

    async def slow(_: str) -> Grant:
        asked.set()
        await may.wait()
        return old

    monkeypatch.setattr(customer.world.database, "grant", slow)
    before = asyncio.create_task(policy.grant(customer.key.hash))
    await asked.wait()
    monkeypatch.undo()
    await change_key(customer, "revoked_at")
    policy.renew("1")
    may.set()
    assert await before is old
    with pytest.raises(errors.CredentialError):
        await policy.grant(customer.key.hash)
