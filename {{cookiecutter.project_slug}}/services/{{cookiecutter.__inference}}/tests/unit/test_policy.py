"""What is remembered of keys, quotas, aliases and the config, and when it is forgotten."""

import asyncio
from uuid import UUID

import pytest

from stratakit.testing import eventually

from gateway import domain, errors
from gateway.policy import KEPT, Policy
from gateway.ports import Grant

from .. import samples
from .conftest import World


class Setting:
    """A policy, and one key of a database that answers when it may, with what it had before."""

    def __init__(self, world: World, key: domain.ApiKey) -> None:
        self.world, self.key = world, key
        self.may = asyncio.Event()
        self.may.set()
        self.asked = 0
        self._look_up = world.database.grant
        world.database.grant = self._grant  # type: ignore[method-assign]  # Slower than it is.
        self.policy = Policy(world.ports)

    async def _grant(self, key_hash: str) -> Grant:
        self.asked += 1
        grant = await self._look_up(key_hash)
        await self.may.wait()
        return grant

    async def revoke(self) -> None:
        """Revoke the key, and tell nobody."""
        changes = {"revoked_at": self.world.clock.now()}
        await self.world.database.keys.update(self.key.id, changes)

    async def grant(self) -> Grant:
        """Ask for the key's grant."""
        return await self.policy.grant(self.key.hash)

    async def refused(self, key_hash: str = "") -> bool:
        """Ask for that of the key, or another one, which must not be valid."""
        with pytest.raises(errors.CredentialError):
            await self.policy.grant(key_hash or self.key.hash)
        return True


@pytest.fixture
async def setting(world: World) -> Setting:
    """A policy, and one key."""
    return Setting(world, await samples.key(world.database))


async def test_a_grant_is_looked_up_once_and_an_unknown_key_each_time(setting: Setting) -> None:
    assert await setting.policy.config() is await setting.policy.config()
    assert await setting.grant() is await setting.grant()
    assert setting.asked == 1
    for _ in range(2):
        assert await setting.refused("none")
    assert setting.asked == 3


async def test_another_version_forgets_what_was_looked_up(setting: Setting) -> None:
    await setting.grant()
    await setting.revoke()
    setting.policy.renew("")
    await setting.grant()
    setting.policy.renew("1")
    assert await setting.refused()


async def test_what_was_being_looked_up_at_a_change_is_not_remembered(setting: Setting) -> None:
    setting.may.clear()
    before = asyncio.create_task(setting.grant())
    await eventually(lambda: setting.asked)
    await setting.revoke()
    setting.policy.renew("1")
    setting.may.set()
    assert (await before).key.revoked_at is None
    assert await setting.refused()


async def test_a_change_that_nobody_told_of_holds_in_the_end(setting: Setting) -> None:
    await setting.grant()
    await setting.revoke()
    setting.world.clock.advance(KEPT.total_seconds() - 1)
    await setting.grant()
    setting.world.clock.advance(1)
    assert await setting.refused()


async def test_an_alias_hides_a_model_of_the_config(setting: Setting) -> None:
    async def target(team: UUID) -> domain.Target:
        return (await setting.policy.route(team, "echo")).target

    team, aliases = setting.key.team_id, samples.SAMPLES["aliases"]
    assert await target(team) == domain.Target("echo", "echo")
    given = {"team_id": team, "target": "mine", "provider": "scripted"}
    await aliases.add(setting.world.database, "echo", **given)
    setting.policy.renew("1")
    assert await target(team) == domain.Target("scripted", "mine")
    assert (await target(UUID(int=7))).provider == "echo"


async def test_who_follows_forgets_at_announcements(setting: Setting) -> None:
    following = asyncio.create_task(setting.policy.follow())
    await setting.grant()
    await setting.policy.config()
    await setting.revoke()
    published = await setting.world.configure(models={})
    await eventually(lambda: setting.policy.version == setting.world.announcements.version)
    assert await setting.policy.config() == published
    with pytest.raises(errors.UnknownModelError):
        await setting.policy.route(setting.key.team_id, "echo")
    assert await setting.refused()
    following.cancel()
