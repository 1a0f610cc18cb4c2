"""The fixtures of pytest-postgresql, with a template that is loaded once a session."""

import os

import pytest
from methods import Connection
from psycopg.conninfo import conninfo_to_dict
from pytest_postgresql import factories
from stratakit import database, project

SERVER = os.environ["BENCH_SERVER"]
PARTS = conninfo_to_dict(SERVER)


def load(*, dbname: str, **_: object) -> None:
    """Run the ten revisions on the template."""
    with database.connect(SERVER, dbname) as own:
        database.migrate(own, project.service("shop"))


server = factories.postgresql_noproc(
    host=str(PARTS["host"]), port=5432, user=str(PARTS["user"]), load=[load]
)
own = factories.postgresql("server")


@pytest.fixture
def connection(own: Connection) -> Connection:
    """Connection to the test's own database."""
    return own
