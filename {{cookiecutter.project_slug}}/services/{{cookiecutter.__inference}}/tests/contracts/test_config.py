"""The contract of the config that a `Database` keeps."""

import asyncio
from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stratakit.testing import contracts

from gateway.domain import Config, Target
from gateway.ports import Database

CONFIG = contracts.filled(Config)
# Whatever UTF-8 can say, and JSONB can hold. (st.text would spend a second on tables of Unicode.)
_CHARACTERS = st.integers(1, 0xD7FF) | st.integers(0xE000, 0x10FFFF)
NAMES = st.lists(_CHARACTERS.map(chr), max_size=5).map("".join)
AMOUNTS = st.integers(0, 2**53)


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
async def test_any_config_comes_back_unchanged(database: Database, new: Config) -> None:
    added = await database.add_config(new)
    assert await database.config() == added == replace(new, version=added.version)


async def test_after_a_default_of_many_at_once_the_one_with_the_greatest_version_holds(
    database: Database,
) -> None:
    assert await database.config() == Config()
    # Whatever version they were given.
    news = [replace(CONFIG, version=9 - number, max_tokens=number) for number in range(1, 21)]
    added = await asyncio.gather(*map(database.add_config, news))
    assert len({each.version for each in added}) == 20
    newest = max(added, key=lambda each: each.version)
    assert await database.config() == newest
    assert (await database.add_config(Config())).version > newest.version
