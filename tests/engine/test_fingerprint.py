"""The fingerprint of a schema, which finds and names each drift and nothing else."""

from collections.abc import Iterator

import pytest

from stratakit import database, names
from stratakit.database import Connection, runs
from stratakit.schema.fingerprint import (
    Difference,
    Fact,
    Facts,
    catalog_version,
    compare,
    facts,
)

from . import clusters, drifts


@pytest.fixture(scope="module")
def server(postgres_url: str) -> str:
    """The server that the run is on."""
    return clusters.server_of(postgres_url)


@pytest.fixture(scope="module")
def run(server: str) -> Iterator[str]:
    """A run, whose databases are dropped at its end."""
    with database.run(server) as run:
        yield run


@pytest.fixture(scope="module")
def connection(server: str, run: str) -> Iterator[Connection]:
    """A connection to a database that has the schema."""
    with database.connect(server) as maintenance:
        name = names.database(run, "drifts")
        runs.create(maintenance, name)
    with database.connect(server, name) as connection:
        connection.execute(drifts.SCHEMA)
        yield connection


@pytest.fixture(scope="module")
def expected(connection: Connection) -> Facts:
    return facts(connection)


@pytest.fixture
def drifting(connection: Connection) -> Iterator[Connection]:
    """The same connection, in a transaction that is rolled back."""
    with connection.transaction(force_rollback=True):
        yield connection


def changes(differences: list[Difference]) -> list[str]:
    return [f"{each.change} {each.kind} {each.name}" for each in differences]


@pytest.mark.parametrize(("statement", "found"), drifts.DRIFTS.values(), ids=drifts.DRIFTS.keys())
def test_each_drift_is_found_and_named(
    statement: str, found: list[str], expected: Facts, drifting: Connection
) -> None:
    drifting.execute(statement)
    assert changes(compare(expected, facts(drifting))) == found


@pytest.mark.parametrize("statement", drifts.DRIFTS.values(), ids=drifts.DRIFTS.keys())
def test_each_drift_changes_the_catalog_version(
    statement: tuple[str, list[str]], drifting: Connection
) -> None:
    before = catalog_version(drifting)
    assert catalog_version(drifting) == before
    drifting.execute(statement[0])
    assert catalog_version(drifting) != before


@pytest.mark.parametrize("statement", drifts.NO_DRIFTS.values(), ids=drifts.NO_DRIFTS.keys())
def test_a_statement_that_causes_no_drift_yields_no_difference(
    statement: str, expected: Facts, drifting: Connection
) -> None:
    drifting.execute(statement)
    assert compare(expected, facts(drifting)) == []


def test_a_second_reading_of_the_schema_finds_the_same_facts(
    expected: Facts, connection: Connection
) -> None:
    assert facts(connection) == expected


def test_the_version_table_of_alembic_is_not_part_of_the_schema(expected: Facts) -> None:
    assert not [key for key in expected if "public.alembic_version" in key]


def test_reading_the_schema_leaves_the_settings_of_a_transaction_unchanged(
    drifting: Connection,
) -> None:
    drifting.execute("SET LOCAL search_path = audit; SET LOCAL timezone = 'Asia/Tokyo'")
    facts(drifting)
    query = "SELECT current_setting('search_path'), current_setting('timezone')"
    assert drifting.execute(query).fetchone() == ("audit", "Asia/Tokyo")


def test_session_settings_do_not_affect_the_facts(expected: Facts, drifting: Connection) -> None:
    drifting.execute(
        "SET LOCAL search_path = audit, public; SET LOCAL timezone = 'Asia/Tokyo';"
        " SET LOCAL datestyle = 'SQL, DMY'; SET LOCAL quote_all_identifiers = on"
    )
    assert facts(drifting) == expected


def test_the_facts_are_the_same_whichever_role_created_the_schema(
    server: str, run: str, expected: Facts
) -> None:
    name = names.database(run, "creators")
    with database.connect(server) as maintenance:
        runs.create(maintenance, name)
    # The role disappears with the transaction.
    with (
        database.connect(server, name) as connection,
        connection.transaction(force_rollback=True),
    ):
        connection.execute("CREATE ROLE fp_creator SUPERUSER; SET LOCAL ROLE fp_creator")
        connection.execute(drifts.SCHEMA)
        assert facts(connection) == expected


def fact(name: str, definition: str = "", part_of: str | None = None) -> Facts:
    return {f"table {name}": Fact("table", name, definition, part_of)}


def test_parts_of_a_missing_or_unexpected_table_are_not_listed() -> None:
    child = {"index i": Fact("index", "i", "", "table a")}
    assert changes(compare({**fact("a"), **child}, {})) == ["missing table a"]
    assert changes(compare({}, {**fact("a"), **child})) == ["unexpected table a"]


def test_differences_are_sorted() -> None:
    expected = {**fact("b"), **fact("a"), "index z": Fact("index", "z", "", None)}
    assert changes(compare(expected, {})) == [
        "missing index z",
        "missing table a",
        "missing table b",
    ]


def test_a_difference_shows_the_expected_and_the_found_definition() -> None:
    [difference] = compare(fact("a", "UNLOGGED"), fact("a", "WITH fillfactor=70"))
    assert str(difference).splitlines() == [
        "changed table a",
        "  expected: UNLOGGED",
        "  found: WITH fillfactor=70",
    ]


def test_a_difference_of_long_texts_shows_only_the_lines_around_it() -> None:
    body = "BEGIN\n  one\n  two\n  three\n{}\nEND"
    [difference] = compare(fact("f", body.format("  four")), fact("f", body.format("  five")))
    assert str(difference).splitlines() == [
        "changed table f",
        "  @@ -4,3 +4,3 @@",
        "     three",
        "  -  four",
        "  +  five",
        "   END",
    ]
