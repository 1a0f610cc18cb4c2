"""Each kind of check that is read: the server takes what is made up, and refuses what breaks it."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from stratakit.schema_tests.catalog import Catalog
from stratakit.factories.checks import checks
from stratakit.schema_tests.assertions import ModelDatabase, broken_check
from stratakit.factories.rows import Rows, violation
from sqlalchemy.dialects import postgresql as pg

from . import shop

CHECKS: list[tuple[sa.types.TypeEngine[Any], list[str]]] = [
    (
        sa.Integer(),
        [
            "x >= 10",
            "5 < x",
            "x < 0",
            "x BETWEEN -3 AND 2",
            "x <> 1 AND x <> 2",
            "x IN (4, 5)",
            "x NOT IN (1, 2)",
            "x = ANY (ARRAY[7, 8])",
            "NOT (x < 5)",
            "NOT (x < 5 OR x > 9)",
            "NOT (x < 5 AND x <> 0)",
            "(x > 100 AND x < 110) OR x = 3",
            "x IS NOT NULL AND x > 3",
            "x > 2147483640",
        ],
    ),
    (sa.SmallInteger(), ["x > 32760", "x < -32760"]),
    (sa.BigInteger(), ["x > 9223372036854775800"]),
    (sa.Numeric(4, 2), ["x > 0 AND x < 0.05", "x >= 99.5", "x <= -1.5", "x <> 1.00"]),
    (sa.Float(), ["x > 0.5 AND x < 0.6", "x = 2.5"]),
    (sa.Date(), ["x >= '2030-01-01'", "x < DATE '1999-12-31'"]),
    (sa.DateTime(timezone=True), ["x > '2030-01-01 00:00:00+00'", "x < '2000-01-01'"]),
    (sa.Time(), ["x BETWEEN '09:00' AND '17:30'"]),
    (
        sa.Text(),
        [
            "char_length(x) = 3",
            "char_length(x) BETWEEN 2 AND 4",
            "length(trim(x)) > 30",
            "length(x) <> 0",
            "x <> ''",
            "x LIKE 'a_c%'",
            "lower(x) = x",
            "x = upper(x)",
            "x IN ('a', 'it''s')",
            "(x)::text = ANY ((ARRAY['a'::character varying, 'b'::character varying])::text[])",
        ],
    ),
    (sa.LargeBinary(), ["octet_length(x) > 20", "octet_length(x) <= 4"]),
    (sa.Boolean(), ["x", "NOT x"]),
    (sa.ARRAY(sa.Text), ["cardinality(x) > 2", "cardinality(x) = 0"]),
    (sa.Enum("a", "b", "c", name="letters"), ["x <> 'a'", "x IN ('b', 'c')"]),
    (pg.JSONB(), ["jsonb_typeof(x) = 'object'"]),
]


@pytest.fixture
def connection(postgres_url: str) -> Iterator[sa.Connection]:
    """A connection in a transaction that is rolled back."""
    with shop.engine(postgres_url).connect() as connection:
        yield connection
        connection.rollback()


@pytest.mark.parametrize(
    ("type_", "check"), [(type_, check) for type_, several in CHECKS for check in several]
)
def test_what_is_made_up_satisfies_a_check_that_something_else_breaks(
    connection: sa.Connection, type_: sa.types.TypeEngine[Any], check: str
) -> None:
    column = sa.Column("x", type_, nullable=False)
    table = sa.Table("t", sa.MetaData(), column, sa.CheckConstraint(check, "ck"))
    table.create(connection)
    rows = Rows("seed", defaultdict(int))
    made = [rows.insert(connection, table)[column] for _ in range(5)]
    assert None not in made
    [only] = checks(table)
    error = broken_check(ModelDatabase(connection, Catalog({}, {}, "public")), table, only)
    assert error is not None
    assert violation(error).constraint == "ck"
