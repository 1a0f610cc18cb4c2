"""Servers and databases for tests that need some of their own."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from stratakit import database, names, servers, settings

from .redis_servers import running


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Start a server with options, for this test alone; return its URL."""
    with ExitStack() as stack:
        yield lambda *options: stack.enter_context(running(tmp_path, *options))


@pytest.fixture
def server(start: Callable[..., str]) -> str:
    """A server that holds four databases."""
    return start("--databases", "4")


@pytest.fixture(scope="module")
def make() -> Iterator[Callable[[str], tuple[str, str]]]:
    """Make a database with a schema; return the server and its name."""
    with ExitStack() as stack:
        server = stack.enter_context(servers.lease(settings.load(), ("postgres",)))["postgres"].url
        run = stack.enter_context(database.run(server))
        count = iter(range(1000))

        def new(schema: str) -> tuple[str, str]:
            name = names.database(run, f"made{next(count)}")
            with database.connect(server) as admin:
                admin.execute(f'CREATE DATABASE "{name}"')
            with database.connect(server, name) as connection:
                connection.execute(schema)
            return server, name

        yield new
