"""Supported kinds of checks: generated values that the server accepts, and violations."""

import json
import os
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from importlib import metadata
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from stratakit.factories import conditions
from stratakit.schema_tests.catalog import Catalog
from stratakit.factories.checks import checks
from stratakit.schema_tests.assertions import ModelDatabase, broken_check
from stratakit.factories.constraints import violation
from stratakit.factories.rows import Rows
from sqlalchemy import exc
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
            "(x > 5) = (x IS NOT NULL)",
            "CASE WHEN x > 5 THEN x < 8 ELSE x < -100 END",
            "x IS DISTINCT FROM 1",
            "coalesce(x, NULL) IS NOT NULL AND x <> 3",
        ],
    ),
    (sa.SmallInteger(), ["x > 32760", "x < -32760"]),
    (sa.BigInteger(), ["x > 9223372036854775800"]),
    (sa.Numeric(4, 2), ["x > 0 AND x < 0.05", "x >= 99.5", "x <= -1.5", "x <> 1.00"]),
    (sa.Float(), ["x > 0.5 AND x < 0.6", "x = 2.5"]),
    (sa.Date(), ["x >= '2030-01-01'", "x < DATE '1999-12-31'"]),
    (sa.DateTime(timezone=True), ["x > '2030-01-01 00:00:00+00'", "x < '2000-01-01'"]),
    (sa.Time(), ["x BETWEEN '09:00' AND '17:30'"]),
    (sa.Time(timezone=True), ["x > '09:00+00'"]),
    (sa.Uuid(), ["x <> '00000000-0000-0000-0000-000000000000'"]),
    (
        sa.Text(),
        [
            "char_length(x) = 3",
            "char_length(x) BETWEEN 2 AND 4",
            "length(trim(x)) > 30",
            "length(x) <> 0",
            "x <> ''",
            "x LIKE 'a_c%'",
            "x LIKE 'a%b%' AND x LIKE '%c' AND length(x) < 9",
            r"x LIKE '%\%'",
            "x ILIKE 'A%@%'",
            "x NOT LIKE 'x%' AND x NOT ILIKE '%-1'",
            "lower(x) = x",
            "x = upper(x)",
            "x IN ('a', 'it''s')",
            "(x)::text = ANY ((ARRAY['a'::character varying, 'b'::character varying])::text[])",
        ],
    ),
    (sa.LargeBinary(), ["octet_length(x) > 20", "octet_length(x) <= 4"]),
    (sa.Boolean(), ["x", "NOT x", "x IS TRUE", "x IS NOT TRUE", "x = (1 > 2)"]),
    (sa.ARRAY(sa.Text), ["cardinality(x) > 2", "cardinality(x) = 0"]),
    (sa.Enum("a", "b", "c", name="letters"), ["x <> 'a'", "x IN ('b', 'c')"]),
    (pg.JSONB(), ["jsonb_typeof(x) = 'object'"]),
]


NEGATIONS = [
    ("a IS NOT NULL OR b IS NOT NULL", "NOT a IS NULL OR NOT b IS NULL"),
    ("NOT (a IS NOT NULL)", "NOT NOT a IS NULL"),
    ("a NOT LIKE 'x%'", "NOT a LIKE 'x%'"),
    ("a NOT ILIKE 'x%'", "NOT a ILIKE 'x%'"),
    ("a NOT IN ('x', 'y')", "NOT a IN ('x', 'y')"),
    ("a NOT SIMILAR TO 'x'", "NOT a SIMILAR TO 'x'"),
    ("a !~ 'x'", "NOT a ~ 'x'"),
]
"""Checks as written, and as parsed: releases of sqlglot differ in where they put the NOT."""


@pytest.mark.parametrize(("written", "read"), NEGATIONS)
def test_a_negation_in_a_check_is_parsed_as_an_outer_not(written: str, read: str) -> None:
    columns = [sa.Column(name, sa.Text()) for name in "ab"]
    table = sa.Table("t", sa.MetaData(), *columns, sa.CheckConstraint(written, "ck"))
    [only] = checks(table)
    assert only.tree is not None
    assert only.tree.sql("postgres") == read
    assert not [node for node in only.tree.walk() if node.args.get("negate")]


OF_TWO = [
    "a IS NOT NULL OR b IS NOT NULL",
    "a NOT LIKE 'x%' AND b IS NOT NULL",
    "b IS NOT NULL",
    "NOT (a IS NULL AND b IS NULL)",
    "(a IS NULL) <> (b IS NULL)",
    "(a = 'x') = (b IS NOT NULL) AND a IS NOT NULL",
    "coalesce(a, b) IS NOT NULL",
    "num_nonnulls(a, b) = 1",
    "num_nonnulls(a, b) >= 1",
    "CASE WHEN a IS NULL THEN b IS NOT NULL ELSE b IS NULL END",
    "a IS NOT NULL AND b IS NOT NULL AND a <> b",
]
"""Checks of two nullable columns."""


@pytest.mark.parametrize("check", OF_TWO)
def test_generated_rows_satisfy_a_check_of_two_columns_that_other_rows_break(
    connection: sa.Connection, check: str
) -> None:
    columns = [sa.Column(name, sa.Text()) for name in "ab"]
    key = sa.Column("id", sa.Integer, sa.Identity(), primary_key=True)
    table = sa.Table("t", sa.MetaData(), key, *columns, sa.CheckConstraint(check, "ck"))
    table.create(connection)
    rows = Rows("seed", defaultdict(int))
    for _ in range(5):
        rows.insert(connection, table)
    every = [{"a": a, "b": b} for a, b in product((None, "x", "y"), repeat=2)]
    with pytest.raises(exc.IntegrityError, match="ck"):
        connection.execute(sa.insert(table), every)


PARSE_CHECKS = """
import json, sys
import sqlglot
from stratakit.factories import conditions
trees = [conditions.read(text).sql("postgres") for text in json.load(sys.stdin)]
print(json.dumps([sqlglot.__version__, trees]))
"""


def test_the_oldest_allowed_sqlglot_parses_checks_like_the_installed_one(tmp_path: Path) -> None:
    every = [text for _, several in CHECKS for text in several]
    every += [*OF_TWO, *(written for written, _ in NEGATIONS)]
    [lowest] = [
        re.search(r">=([0-9.]+)", each)
        for each in metadata.requires("stratakit") or ()
        if each.startswith("sqlglot")
    ]
    assert lowest
    named = f"sqlglot=={lowest[1]}"
    command = ("uv", "pip", "install", "--quiet", "--python", sys.executable)
    subprocess.run((*command, "--no-deps", "--target", str(tmp_path), named), check=True)
    done = subprocess.run(
        (sys.executable, "-c", PARSE_CHECKS),
        input=json.dumps(every),
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    version, trees = json.loads(done.stdout)
    assert version.startswith(f"{lowest[1]}.")
    assert trees == [conditions.read(text).sql("postgres") for text in every]


@pytest.fixture
def connection(postgres_url: str) -> Iterator[sa.Connection]:
    """A connection in a transaction that is rolled back."""
    with shop.engine(postgres_url).connect() as connection:
        yield connection
        connection.rollback()


@pytest.mark.parametrize(
    ("type_", "check"), [(type_, check) for type_, several in CHECKS for check in several]
)
def test_generated_values_satisfy_a_check_that_other_values_break(
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
