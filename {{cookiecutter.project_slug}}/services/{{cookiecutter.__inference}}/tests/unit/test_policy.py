"""What is remembered of keys, quotas, aliases and the config, and when it is forgotten."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta

import pytest

from gateway import domain, errors
from gateway.accounts import Keys
from gateway.policy import KEPT, Policy
from gateway.ports import Grant

from .. import samples
from .conftest import World


@dataclass
class Setting:
    """A policy, and one key of its database."""

    world: World
    key: domain.ApiKey
    policy: Policy

    async def set(self, field: str, seconds: float = 0) -> None:
        """Let the key be revoked, or expire, in so many seconds, and tell nobody."""
        at = self.world.clock.now() + timedelta(seconds=seconds)
        await self.world.database.keys.update(self.key.id, {field: at})

    async def grant(self) -> Grant:
        """Ask for what the key gives access to."""
        return await self.policy.grant(self.key.hash)


@pytest.fixture
async def setting(world: World) -> Setting:
    """A policy, and one key."""
    return Setting(world, await samples.key(world.database), Policy(world.ports))


async def test_what_was_found_is_remembered_and_that_there_is_no_such_key_is_not(
    setting: Setting,
) -> None:
    assert await setting.policy.config() is await setting.policy.config()
    assert await setting.grant() is await setting.grant()
    issued = Keys("secret").issue()
    with pytest.raises(errors.CredentialError):
        await setting.policy.grant(issued.hash)
    key = await samples.key(setting.world.database, issued=issued)
    assert (await setting.policy.grant(issued.hash)).key == key


@pytest.mark.parametrize(("version", "seconds"), [("1", 0), ("", 1)])
async def test_another_version_or_a_minute_forgets_what_was_looked_up(
    setting: Setting, version: str, seconds: float
) -> None:
    async def target() -> domain.Target:
        return (await setting.policy.route(setting.key.team_id, "echo")).target

    await setting.grant()
    assert await target() == domain.Target("echo", "echo")
    await setting.set("revoked_at")
    given = {"team_id": setting.key.team_id, "target": "mine", "provider": "scripted"}
    await samples.SAMPLES["aliases"].add(setting.world.database, "echo", **given)
    setting.policy.renew("")
    setting.world.clock.advance(KEPT.total_seconds() - 1)
    await setting.grant()
    assert await target() == domain.Target("echo", "echo")
    setting.policy.renew(version)
    setting.world.clock.advance(seconds)
    with pytest.raises(errors.CredentialError):
        await setting.grant()
    # A team's own hides one of the config.
    assert await target() == domain.Target("scripted", "mine")


async def test_a_key_that_is_remembered_expires(setting: Setting) -> None:
    await setting.set("expires_at", 5)
    await setting.grant()
    setting.world.clock.advance(5)
    with pytest.raises(errors.CredentialError):
        await setting.grant()


async def test_what_was_being_looked_up_at_a_change_is_not_remembered(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, may = asyncio.Event(), asyncio.Event()
    old = await setting.world.database.grant(setting.key.hash)

    async def slow(_: str) -> Grant:
        asked.set()
        await may.wait()
        return old

    monkeypatch.setattr(setting.world.database, "grant", slow)
    before = asyncio.create_task(setting.grant())
    await asked.wait()
    monkeypatch.undo()
    await setting.set("revoked_at")
    setting.policy.renew("1")
    may.set()
    assert await before is old
    with pytest.raises(errors.CredentialError):
        await setting.grant()
