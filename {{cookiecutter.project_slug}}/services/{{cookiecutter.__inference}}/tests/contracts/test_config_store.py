"""The contract of `ConfigStore`, for the fake and the real one alike."""

import asyncio
from collections.abc import Awaitable, Callable
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stratakit.testing import eventually

from gateway import errors
from gateway.domain import Config, PolicyUpdate, Target
from gateway.ports import ConfigStore

from ..updates import following

TEAM = UUID(int=7)
CONFIG = Config(
    models={"large": Target("openai", "gpt"), "naïve/ï": Target("echo", "echo")},
    prices={"gpt": 12},
    requests_per_minute=1,
    tokens_per_minute=2,
    max_tokens=3,
)
# Whatever UTF-8 can say. (st.text would spend a second on tables of Unicode.)
_CHARACTERS = st.integers(0, 0xD7FF) | st.integers(0xE000, 0x10FFFF)
NAMES = st.lists(_CHARACTERS.map(chr), max_size=5).map("".join)
AMOUNTS = st.integers(0, 2**53)
START = PolicyUpdate(0, None)


async def test_before_the_first_publication_there_is_a_default(config: ConfigStore) -> None:
    assert await config.fetch() == Config()


async def test_what_is_published_can_be_read(config: ConfigStore) -> None:
    published = await config.publish(CONFIG)
    assert await config.fetch() == published
    assert (published.models, published.prices) == (CONFIG.models, CONFIG.prices)
    assert (published.limits, published.max_tokens) == (CONFIG.limits, CONFIG.max_tokens)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # Each replaces the last.
@given(
    st.builds(
        Config,
        models=st.dictionaries(NAMES, st.builds(Target, NAMES, NAMES), max_size=3),
        prices=st.dictionaries(NAMES, AMOUNTS, max_size=3),
        requests_per_minute=AMOUNTS,
        tokens_per_minute=AMOUNTS,
        max_tokens=AMOUNTS,
    )
)
async def test_any_config_comes_back_unchanged(config: ConfigStore, new: Config) -> None:
    assert await config.publish(new) == await config.fetch()


async def test_each_publication_counts_up_whatever_version_it_has(config: ConfigStore) -> None:
    versions = [(await config.publish(Config(version=number))).version for number in (9, 0, 5)]
    assert versions == [1, 2, 3]


async def test_of_many_at_once_the_one_with_the_greatest_version_stays(
    config: ConfigStore,
) -> None:
    published = await asyncio.gather(
        *(config.publish(Config(max_tokens=number)) for number in range(1, 21))
    )
    assert {each.version for each in published} == set(range(1, 21))
    assert await config.fetch() == max(published, key=lambda each: each.version)


async def test_policy_updates_are_counted(config: ConfigStore) -> None:
    assert await config.publish_policy(TEAM) == PolicyUpdate(1, TEAM)
    assert await config.publish_policy(None) == PolicyUpdate(2, None)


async def test_what_cannot_be_read_is_an_error_of_its_own(
    config: ConfigStore, damage: Callable[[], Awaitable[None]]
) -> None:
    await damage()
    with pytest.raises(errors.UnreadableError):
        await config.fetch()


async def test_what_cannot_be_read_is_replaced_and_counted_on(
    config: ConfigStore, damage: Callable[[], Awaitable[None]]
) -> None:
    before = await config.publish(Config())
    await damage()
    published = await config.publish(CONFIG)
    assert published.version > before.version
    assert await config.fetch() == published


async def test_updates_begin_with_what_is_there(config: ConfigStore) -> None:
    async with following(config) as seen:
        assert seen == [Config(), START]
    published = await config.publish(CONFIG)
    await config.publish_policy(TEAM)
    async with following(config) as seen:
        assert seen == [published, PolicyUpdate(1, None)]


async def test_updates_tell_what_is_published_in_its_order(config: ConfigStore) -> None:
    async with following(config) as seen:
        published = await config.publish(CONFIG)
        await eventually(lambda: published in seen)
        for team in (TEAM, None, TEAM):
            await config.publish_policy(team)
        await eventually(lambda: len(seen) >= 6)
        assert seen[2:] == [
            published,
            PolicyUpdate(1, TEAM),
            PolicyUpdate(2, None),
            PolicyUpdate(3, TEAM),
        ]


async def test_all_who_follow_see_an_update(config: ConfigStore) -> None:
    async with following(config) as one, following(config) as other:
        published = await config.publish(CONFIG)
        await eventually(lambda: published in one and published in other)


async def test_after_many_publications_the_newest_is_known(config: ConfigStore) -> None:
    async with following(config) as seen:
        published = await asyncio.gather(
            *(config.publish(Config(max_tokens=number)) for number in range(1, 21))
        )
        newest = max(published, key=lambda each: each.version)
        await eventually(lambda: newest in seen)
        versions = [update.version for update in seen if isinstance(update, Config)]
        assert versions == sorted(set(versions))


async def test_a_config_that_cannot_be_read_is_left_out(
    config: ConfigStore, damage: Callable[[], Awaitable[None]]
) -> None:
    await damage()
    async with following(config) as seen:
        assert seen == [START]
        published = await config.publish(CONFIG)
        await eventually(lambda: published in seen)


async def test_a_server_that_is_there_answers(config: ConfigStore) -> None:
    await config.ping()
