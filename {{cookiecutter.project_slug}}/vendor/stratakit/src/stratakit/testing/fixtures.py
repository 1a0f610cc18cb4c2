"""The fixtures of every service; the plugin makes those that differ from one to the next."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest

from .. import settings

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from ..factories import Build

NO_LEAKED_TASKS = "_no_task_left"
"""The fixture that the plugin gives to tests which are coroutines."""
SEED = "seed"
"""Property of a test that has built rows."""
GRACE = 0.5
"""Seconds that a task may take to end after its test: it may be closing a connection."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that repeats a run's values."""
    parser.getgroup("strata").addoption(
        "--seed", help="what the values of built rows depend on, besides their test (random)"
    )


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Choose a seed, once: the workers have the controller's options."""
    config.option.seed = config.option.seed or secrets.token_hex(4)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Report how to have the same values again, if a test that has built rows failed."""
    failed = terminalreporter.getreports("failed") + terminalreporter.getreports("error")
    # A file that could not be collected is among them, and has no properties.
    tests = [report for report in failed if isinstance(report, pytest.TestReport)]
    if any(SEED in dict(report.user_properties) for report in tests):
        terminalreporter.write_line(f"the same rows are built by --seed {config.option.seed}")


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


@pytest.fixture
def build(postgres_engine: "AsyncEngine", request: pytest.FixtureRequest) -> "Build":
    """Return what builds rows in this worker's own database."""
    from ..factories import Build

    seed = request.config.option.seed
    request.node.user_properties.append((SEED, seed))
    # Of the test too, so that no other, before it or beside it, has the same unique values.
    return Build(postgres_engine, f"{seed} {request.node.nodeid}")


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
