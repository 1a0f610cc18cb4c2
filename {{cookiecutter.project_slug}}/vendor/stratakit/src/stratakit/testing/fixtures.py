"""The fixtures of every service; the plugin makes those that differ from one to the next."""

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
"""Opens a connection, at an isolation level if one is given."""
KEEP_ROWS = "_keep_rows"
"""The fixture of a package that keeps what a module has built."""
NO_LEAKED_TASKS = "_no_task_left"
"""The fixture that the plugin gives to tests which are coroutines."""
SEED = "seed"
"""Property of a test that has built rows."""
ORDER = "randomly_seed"
"""The option of pytest-randomly that has its seed."""
GRACE = 0.5
"""Seconds that a task may take to end after its test: it may be closing a connection."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that repeats a run's order and values."""
    parser.getgroup("strata").addoption(
        "--seed",
        help="what the order of tests depends on, and the values of built rows (random)",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Choose a seed, once: the workers have the controller's options."""
    config.option.seed = config.option.seed or secrets.token_hex(4)
    # Unless its own was given, or it was left out.
    if getattr(config.option, ORDER, None) == "default":
        setattr(config.option, ORDER, crc32(config.option.seed.encode()))


def pytest_report_header(config: pytest.Config) -> str:
    """Return what has the tests in the same order again."""
    return f"order and rows: --seed {config.option.seed}"


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Report how to have the same order and values again, if a test failed."""
    failed = terminalreporter.getreports("failed") + terminalreporter.getreports("error")
    # A file that could not be collected is among them, and has neither.
    if any(isinstance(report, pytest.TestReport) for report in failed):
        seed = config.option.seed
        terminalreporter.write_line(f"the same order and the same rows again: --seed {seed}")


@pytest.fixture(scope="session")
def test_settings() -> settings.Settings:
    """Settings of the run: `.env.test` and the environment."""
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
    """Connections to this worker's own database, without what earlier tests have set on them."""
    return _sessions.engine(postgres_url, request.node.nodeid)


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
async def connect(postgres_engine: "AsyncEngine") -> AsyncIterator[Connect]:
    """Open connections of their own, for transactions that meet; they are rolled back in the end.

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
    """Return what builds rows in this worker's own database."""
    from ..factories import Build

    seed = request.config.option.seed
    request.node.user_properties.append((SEED, seed))
    # Of the test too, so that no other, before it or beside it, has the same unique values.
    return Build(postgres_engine, f"{seed} {request.node.nodeid}")


@pytest.fixture(scope="module")
async def module_build(
    postgres_url: str, _keep_rows: Callable[[], None], request: pytest.FixtureRequest
) -> AsyncIterator["Build"]:
    """What builds rows for all tests of a module, each of which has them as they were built.

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
