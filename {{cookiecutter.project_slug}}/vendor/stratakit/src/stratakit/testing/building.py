"""The fixture that builds rows, and the seed that their values depend on."""

import secrets
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from .builders import Build

SEED = "seed"
"""Property of a test that has built rows."""


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


@pytest.fixture
def build(postgres_engine: "AsyncEngine", request: pytest.FixtureRequest) -> "Build":
    """Return what builds rows in this worker's own database."""
    from .builders import Build

    seed = request.config.option.seed
    request.node.user_properties.append((SEED, seed))
    # Of the test too, so that no other, before it or beside it, has the same unique values.
    return Build(postgres_engine, f"{seed} {request.node.nodeid}")
