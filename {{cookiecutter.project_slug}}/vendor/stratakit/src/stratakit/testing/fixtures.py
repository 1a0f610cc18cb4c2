"""Fixtures of every service. Those that differ from one to the next are made in the plugin."""

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest

from .. import settings

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

NO_LEAKED_TASKS = "_no_task_left"
"""The fixture that the plugin gives to tests which are coroutines."""
GRACE = 0.5
"""Seconds that a task may take to end after its test: it may be closing a connection."""


@pytest.fixture(scope="session")
def test_settings() -> settings.Settings:
    """Settings of the run: `.env.test` and the environment."""
    return settings.load()


@pytest.fixture(scope="session")
async def _engines() -> AsyncIterator[dict[str, "AsyncEngine"]]:
    engines: dict[str, AsyncEngine] = {}
    yield engines
    for engine in engines.values():
        await engine.dispose()


@pytest.fixture
async def postgres_engine(postgres_url: str, _engines: dict[str, "AsyncEngine"]) -> "AsyncEngine":
    """Connections to this worker's own database."""
    from sqlalchemy.ext.asyncio import create_async_engine

    if postgres_url not in _engines:
        _engines[postgres_url] = create_async_engine(postgres_url)
    return _engines[postgres_url]


@pytest.fixture
async def rollback(postgres_engine: "AsyncEngine") -> AsyncIterator["AsyncConnection"]:
    """Connection in a transaction that is rolled back after the test.

    The fastest isolation, for tests that need no second connection. Bind sessions to it by
    `async_sessionmaker(rollback, join_transaction_mode="create_savepoint")`; their commits are
    savepoints then.
    """
    async with postgres_engine.connect() as connection:
        transaction = await connection.begin()
        yield connection
        await transaction.rollback()


@pytest.fixture(name=NO_LEAKED_TASKS)
async def no_task_left() -> AsyncIterator[None]:
    """Fail a test that leaves a task running: the next one would meet what it writes."""
    before = asyncio.all_tasks()
    yield
    left = asyncio.all_tasks() - before - {asyncio.current_task()}
    if left:
        _, left = await asyncio.wait(left, timeout=GRACE)
    for task in left:
        task.cancel()
    if left:
        await asyncio.wait(left, timeout=GRACE)
        names = ", ".join(sorted(str(task.get_coro()) for task in left))
        pytest.fail(f"the test has left tasks running: {names}. Await or cancel what it starts.")
