"""A suite of tests that write, the same for every method of isolation."""

import pytest
from methods import Connection
from schema import write


@pytest.mark.parametrize("number", range(150))
def test_writes_to_twelve_tables(number: int, connection: Connection) -> None:
    """Write 26 rows."""
    write(connection)
