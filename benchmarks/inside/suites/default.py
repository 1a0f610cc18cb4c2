"""The worker's own database, as the plugin of the project gives and cleans it."""

from collections.abc import Iterator

import psycopg
import pytest
from methods import Connection
from sqlalchemy import make_url


@pytest.fixture(scope="session")
def connection(postgres_url: str) -> Iterator[Connection]:
    """Connection that all tests share."""
    plain = make_url(postgres_url).set(drivername="postgresql")
    address = plain.render_as_string(hide_password=False)
    with psycopg.connect(address, autocommit=True) as shared:
        yield shared
