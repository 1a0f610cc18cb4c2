"""Fixtures shared by all services; the plugin registers those that differ between services."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, TypeAlias
from zlib import crc32

import pytest

from .. import settings

if TYPE_CHECKING:
    from sqlalchemy.engine.interfaces import IsolationLevel
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from ..factories import Build
    from .sessions import Sessions

Connect: TypeAlias = "Callable[..., Awaitable[AsyncConnection]]"
"""Function that opens a connection, optionally at an isolation level."""
KEEP_ROWS = "_keep_rows"
"""Name of a package's fixture that keeps the rows built for a module."""
NO_LEAKED_TASKS = "_no_task_left"
"""Name of the fixture that the plugin adds to coroutine tests."""
SEED = "seed"
"""User property of tests that build rows."""
ORDER = "randomly_seed"
"""Name of pytest-randomly's seed option."""
GRACE = 0.5
"""Seconds a task may take to finish after its test: it may be closing a connection."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that repeats a run's test order and row values."""
    parser.getgroup("strata").addoption(
        "--seed",
        help="seed of the test order and of the values in built rows (default: random)",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Choose a seed in the controller: workers inherit its options."""
    config.option.seed = config.option.seed or secrets.token_hex(4)
    # Keep a seed given to pytest-randomly itself; the plugin may also be absent.
    if getattr(config.option, ORDER, None) == "default":
        setattr(config.option, ORDER, crc32(config.option.seed.encode()))


def pytest_report_header(config: pytest.Config) -> str:
    """Return the header line with the seed of the run."""
    return f"order and rows: --seed {config.option.seed}"


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print the option that repeats the order and values, if a test failed."""
    failed = terminalreporter.getreports("failed") + terminalreporter.getreports("error")
    # Collection errors are among them, but do not depend on the seed.
    if any(isinstance(report, pytest.TestReport) for report in failed):
        seed = config.option.seed
        terminalreporter.write_line(f"to repeat the test order and the rows: --seed {seed}")


@pytest.fixture(scope="session")
def test_settings() -> settings.Settings:
    """Settings of the test run, from `.env.test` and the environment."""
    return settings.load()


@pytest.fixture(scope="session")
async def _sessions() -> AsyncIterator["Sessions"]:
    from .sessions import Sessions

    sessions = Sessions()
    yield sessions
    await sessions.dispose()


@pytest.fixture
async def postgres_engine(
    postgres_url: str, _sessions: "Sessions", request: pytest.FixtureRequest
) -> "AsyncEngine":
    """Engine for this worker's own database; session settings of earlier tests are reset."""
    return _sessions.engine(postgres_url, request.node.nodeid)


@pytest.fixture
async def rollback(postgres_engine: "AsyncEngine") -> AsyncIterator["AsyncConnection"]:
    """Connection in a transaction that is rolled back after the test.

    The fastest isolation, for tests that need only one connection. Bind sessions to it with
    `async_sessionmaker(rollback, join_transaction_mode="create_savepoint")`, which turns their
    commits into savepoints.
    """
    async with postgres_engine.connect() as connection:
        transaction = await connection.begin()
        yield connection
        await transaction.rollback()


@pytest.fixture
async def connect(postgres_engine: "AsyncEngine") -> AsyncIterator[Connect]:
    """Function that opens connections for concurrent transactions; rolled back at the end.

    one, other = await connect(), await connect("SERIALIZABLE")
    """
    async with AsyncExitStack() as stack:

        async def connect(isolation_level: "IsolationLevel | None" = None) -> "AsyncConnection":
            connection = await stack.enter_async_context(postgres_engine.connect())
            if isolation_level:
                await connection.execution_options(isolation_level=isolation_level)
            return connection

        yield connect


@pytest.fixture
def build(postgres_engine: "AsyncEngine", request: pytest.FixtureRequest) -> "Build":
    """Builder of rows in this worker's own database."""
    from ..factories import Build

    seed = request.config.option.seed
    request.node.user_properties.append((SEED, seed))
    # The test id is part of the seed, so that no two tests get the same unique values.
    return Build(postgres_engine, f"{seed} {request.node.nodeid}")


@pytest.fixture(scope="module")
async def module_build(
    postgres_url: str, _keep_rows: Callable[[], None], request: pytest.FixtureRequest
) -> AsyncIterator["Build"]:
    """Builder of rows for all tests of a module; each test gets them as they were built.

    @pytest.fixture(scope="module", autouse=True)
    async def countries(module_build: Build) -> list[Country]:
        return await module_build.many(Country, 200)
    """
    from sqlalchemy import NullPool
    from sqlalchemy.ext.asyncio import create_async_engine

    from ..factories import Build

    engine = create_async_engine(postgres_url, poolclass=NullPool)
    seed = f"{request.config.option.seed} {request.node.nodeid}"
    yield Build(engine, seed, _keep_rows)
    await engine.dispose()


@pytest.fixture(name=NO_LEAKED_TASKS)
async def no_task_left() -> AsyncIterator[None]:
    """Fail a test that leaves a task running: its writes could break the next test."""
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
