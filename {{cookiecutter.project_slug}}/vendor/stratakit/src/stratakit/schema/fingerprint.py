"""What a database's schema is, as facts out of the catalog that can be compared.

Alembic's autogenerate compares what SQLAlchemy reflects: it sees no CHECK, no predicate of an
index, no trigger, no privilege. The catalog holds everything that PostgreSQL goes by.
"""

import difflib
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Literal, NamedTuple

import psycopg
from psycopg.pq import TransactionStatus

SETTINGS = {
    "search_path": "",
    # What PostgreSQL prints a constant with, in a CHECK or in the bound of a partition.
    "bytea_output": "hex",
    "datestyle": "ISO, MDY",
    "extra_float_digits": "1",
    "intervalstyle": "postgres",
    "quote_all_identifiers": "off",
    "timezone": "UTC",
    # It would compile for longer than the query takes.
    "jit": "off",
    # A migration that is under way locks the views whose text we want.
    "lock_timeout": "10s",
}
"""What the facts are read under, whatever the database or the role has set."""
QUERY = files(__package__).joinpath("catalog.sql").read_bytes()


class Fact(NamedTuple):
    """One part of a schema, such as a column or a privilege."""

    kind: str
    name: str
    definition: str
    part_of: str | None
    """The kind and name of the part that it would go with if that were dropped."""


Facts = Mapping[str, Fact]
"""By kind and name."""


@dataclass(frozen=True, slots=True, order=True)
class Difference:
    """A part of a schema that is not as expected."""

    kind: str
    name: str
    change: Literal["missing", "unexpected", "changed"]
    expected: str = ""
    found: str = ""

    def __str__(self) -> str:
        """Name it, and show what tells the two apart."""
        texts = {"expected": self.expected, "found": self.found}
        lines = [f"{side}: {text}" for side, text in texts.items() if text]
        if self.change == "changed" and any("\n" in text for text in texts.values()):
            sides = [text.splitlines() for text in texts.values()]
            # Without the names of the files, since there are none.
            lines = list(difflib.unified_diff(sides[0], sides[1], n=1, lineterm=""))[2:]
        text = "\n".join((f"{self.change} {self.kind} {self.name}", *lines))
        return text.replace("\n", "\n  ")


def facts(connection: psycopg.Connection[Any]) -> Facts:
    """Return what the schema of a database is made of, but for the table alembic_version.

    It does not matter who made the schema: an owner is mentioned only where it is not the role that
    migrates, which is the one that owns alembic_version, else the database. Nor does the version of
    the server, but for views over one table, in which PostgreSQL 15 writes `table.column`.

    Raises:
        psycopg.errors.LockNotAvailable: somebody is changing a view's tables.
    """
    nested = connection.info.transaction_status != TransactionStatus.IDLE
    # Rolled back where it would outlive us; elsewhere not, since that unprepares the query.
    with connection.transaction(force_rollback=nested):
        connection.execute(_SET_ALL)
        rows = connection.execute(QUERY, prepare=True).fetchall()
    return {
        f"{kind} {name}": Fact(kind, name, *rest)
        for kind, name, *rest in rows
        if not _NOT_SCHEMA(name)
    }


def digest(connection: psycopg.Connection[Any]) -> str:
    """Return a hash of the facts: equal for equal schemas."""
    found = repr(sorted(facts(connection).items()))
    return hashlib.sha256(found.encode()).hexdigest()


def compare(expected: Facts, found: Facts) -> list[Difference]:
    """Return what differs, sorted. Of what is missing or unexpected, its parts are not listed."""
    lone = expected.keys() ^ found.keys()
    return sorted(
        _difference(expected.get(key), found.get(key), fact)
        for key, fact in {**expected, **found}.items()
        if expected.get(key) != found.get(key) and fact.part_of not in lone
    )


def _difference(expected: Fact | None, found: Fact | None, fact: Fact) -> Difference:
    return Difference(
        kind=fact.kind,
        name=fact.name,
        change="missing" if not found else "changed" if expected else "unexpected",
        expected=expected.definition if expected else "",
        found=found.definition if found else "",
    )


_SET_ALL = "SELECT " + ", ".join(
    f"set_config('{name}', '{value}', true)" for name, value in SETTINGS.items()
)
# A session's temporary things, and Alembic's table; their parts, and what is about them.
_NOT_SCHEMA = re.compile(r"(^| )(pg_temp(_\d+)?\.|[^ .]+\.alembic_version(\.| |$))").search
