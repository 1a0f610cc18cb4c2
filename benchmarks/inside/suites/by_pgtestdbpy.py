"""The context managers of pgtestdbpy, used as its README shows."""

import os
from collections.abc import Iterator

import pytest
from methods import Connection, Ground, Test, pgtestdb
from stratakit import database, project


@pytest.fixture(scope="session")
def isolated() -> Iterator[Test]:
    """Manager that gives each test its own database."""
    server = os.environ["BENCH_SERVER"]
    with (
        database.run(server) as run,
        pgtestdb(Ground.of(server, run, project.service("shop"))) as test,
    ):
        yield test


@pytest.fixture
def connection(isolated: Test) -> Iterator[Connection]:
    """Connection to the test's own database."""
    with isolated() as own:
        yield own
