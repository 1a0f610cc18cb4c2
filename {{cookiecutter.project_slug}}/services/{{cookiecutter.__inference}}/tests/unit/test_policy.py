"""What is remembered of keys, quotas, aliases and the config, and when it is forgotten."""

import asyncio
from dataclasses import dataclass, field, replace
from uuid import UUID

import pytest
from structlog.typing import EventDict

from stratakit.testing import eventually

from gateway import domain, errors
from gateway.accounts import Keys
from gateway.adapters.memory.config import MemoryConfigStore
from gateway.adapters.memory.database import MemoryDatabase
from gateway.policy import KEPT, Policy
from gateway.ports import Grant

from .conftest import SECRET, World


class SlowDatabase(MemoryDatabase):
    """Answers with what it had when it was asked, and only then when it may."""

    def __init__(self, world: World) -> None:
        super().__init__(world.clock)
        self.may = asyncio.Event()
        self.may.set()
        self.asked = 0

    async def grant(self, key_hash: str) -> Grant:
        """Return what was true before the wait."""
        self.asked += 1
        grant = await super().grant(key_hash)
        await self.may.wait()
        return grant


class SlowStore(MemoryConfigStore):
    """As the database is slow."""

    def __init__(self) -> None:
        super().__init__()
        self.may = asyncio.Event()
        self.asked = 0

    async def fetch(self) -> domain.Config:
        """Return what was true before the wait."""
        self.asked += 1
        config = await super().fetch()
        await self.may.wait()
        return config


@dataclass
class Setting:
    """A policy, and one key."""

    world: World = field(default_factory=World)

    def __post_init__(self) -> None:
        self.database = self.world.database = SlowDatabase(self.world)
        self.policy = Policy(self.world.ports)

    async def prepare(self) -> "Setting":
        """Make the key."""
        self.team = await self.world.team()
        key, self.key = await self.world.key(self.team)
        self.hash = Keys(SECRET).hash(key)
        return self

    async def revoke(self) -> None:
        """Revoke the key, and tell nobody."""
        changes = {"revoked_at": self.world.clock.now()}
        await self.database.keys.update(self.key.id, changes)


@pytest.fixture
async def setting() -> Setting:
    """A policy, and one key."""
    return await Setting().prepare()


async def test_a_grant_is_looked_up_once(setting: Setting) -> None:
    first = await setting.policy.grant(setting.hash)
    assert await setting.policy.grant(setting.hash) is first
    assert setting.database.asked == 1


async def test_a_key_that_does_not_exist_is_not_remembered(setting: Setting) -> None:
    for _ in range(2):
        with pytest.raises(errors.CredentialError):
            await setting.policy.grant("none")
    assert setting.database.asked == 2


async def test_another_version_forgets_what_was_looked_up(setting: Setting) -> None:
    await setting.policy.grant(setting.hash)
    await setting.revoke()
    setting.policy.renew(0)
    await setting.policy.grant(setting.hash)
    setting.policy.renew(1)
    with pytest.raises(errors.CredentialError):
        await setting.policy.grant(setting.hash)


async def test_a_lesser_version_does_too_since_redis_may_count_anew(setting: Setting) -> None:
    setting.policy.renew(7)
    await setting.policy.grant(setting.hash)
    await setting.revoke()
    setting.policy.renew(1)
    with pytest.raises(errors.CredentialError):
        await setting.policy.grant(setting.hash)


async def test_what_was_being_looked_up_at_a_change_is_not_remembered(setting: Setting) -> None:
    setting.database.may.clear()
    before = asyncio.create_task(setting.policy.grant(setting.hash))
    await eventually(lambda: setting.database.asked)
    await setting.revoke()
    setting.policy.renew(1)
    setting.database.may.set()
    assert (await before).key.revoked_at is None
    with pytest.raises(errors.CredentialError):
        await setting.policy.grant(setting.hash)


async def test_a_change_that_nobody_told_of_holds_in_the_end(setting: Setting) -> None:
    await setting.policy.grant(setting.hash)
    await setting.revoke()
    setting.world.clock.advance(KEPT.total_seconds() - 1)
    await setting.policy.grant(setting.hash)
    setting.world.clock.advance(1)
    with pytest.raises(errors.CredentialError):
        await setting.policy.grant(setting.hash)


async def test_an_alias_hides_a_model_of_the_config(setting: Setting) -> None:
    assert (await setting.policy.route(setting.team.id, "echo")).target == domain.Target(
        "echo", "echo"
    )
    new = domain.NewModelAlias(
        team_id=setting.team.id, alias="echo", target="mine", provider="scripted"
    )
    await setting.database.aliases.create(new)
    setting.policy.renew(1)
    assert (await setting.policy.route(setting.team.id, "echo")).target == domain.Target(
        "scripted", "mine"
    )
    assert (await setting.policy.route(UUID(int=7), "echo")).target.provider == "echo"


async def test_who_follows_takes_over_configs_and_forgets_at_changes(setting: Setting) -> None:
    following = asyncio.create_task(setting.policy.follow())
    await setting.policy.grant(setting.hash)
    await setting.revoke()
    published = await setting.world.config.publish(replace(domain.Config(), models={}))
    update = await setting.world.config.publish_policy(setting.team.id)
    await eventually(lambda: setting.policy.version == update.version)
    assert await setting.policy.config() == published
    with pytest.raises(errors.UnknownModelError):
        await setting.policy.route(setting.team.id, "echo")
    with pytest.raises(errors.CredentialError):
        await setting.policy.grant(setting.hash)
    following.cancel()
    await asyncio.wait([following])


async def test_a_config_that_came_while_one_was_fetched_stays(
    setting: Setting, lines: list[EventDict]
) -> None:
    store = setting.world.config = SlowStore()
    policy = Policy(setting.world.ports)
    fetching = asyncio.create_task(policy.config())
    await eventually(lambda: store.asked)
    following = asyncio.create_task(policy.follow())
    published = await store.publish(domain.Config(models={}))
    await eventually(lambda: published.version in [line.get("version") for line in lines])
    store.may.set()
    assert await fetching == published
    assert await policy.config() == published
    following.cancel()
    await asyncio.wait([following])


async def test_a_config_that_was_read_outlives_one_that_cannot_be(setting: Setting) -> None:
    config = await setting.policy.config()
    setting.world.config.unreadable = True
    assert await setting.policy.config() is config
