"""A shared database for all tests, never cleaned."""

import os
from collections.abc import Iterator

import pytest
from methods import Connection, Ground, none
from stratakit import database, project


@pytest.fixture(scope="session")
def connection() -> Iterator[Connection]:
    """Connection that all tests share."""
    server = os.environ["BENCH_SERVER"]
    with database.run(server) as run:
        ground = Ground.of(server, run, project.service("shop"))
        with none(ground) as test, test() as shared:
            yield shared
