"""Checks that migrations go up as a release applies them: all pending ones at once, on rows.

A release applies all pending revisions in one transaction, from wherever the previous release left
the database. Revisions that go up one by one may fail there: a value that was added to an enum
cannot be used before it is committed, nor can a table with pending deferred triggers be altered.
Trying every start would cost the square of the number of revisions. But two revisions that cannot
share a transaction also fail if the first of them begins it, and that one has to leave something to
the end of its transaction. So a single walk over all revisions finds those that leave something,
and those that fail on rows; only from before the former is the rest of the chain applied at once.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from ..database import MigrationError
from ..factories.constraints import BuildError
from ..factories.rows import Row, Rows, insert
from .revisions import Chain, Revisions

Start = Callable[[Chain], sa.Connection]
"""Function that returns a connection to a database with exactly a chain of revisions applied."""

_LEAVES = re.compile(
    r"\bADD\s+VALUE\b|(?<!ON )\b(INSERT|UPDATE|DELETE|MERGE)\s|^\s*(WITH|SET|DO|CALL|COPY|LOCK)\b"
    r"|^\s*SELECT\s+(?!pg_|alembic_version)",
    re.IGNORECASE,
)
"""Statements that may leave something to the end of a transaction; others leave nothing."""
_OWN = re.compile(r"^\s*(INSERT INTO|UPDATE|DELETE FROM) alembic_version\b")
_ADDS_COLUMN = re.compile(r"\bADD\b", re.IGNORECASE)
_OF_ROWS = ("22", "23")
"""SQLSTATE prefixes of errors about values: ours are not those that the release will meet."""
_NOT_NULL = "23502"
_TABLES = """
    SELECT nspname, relname
    FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE relkind IN ('r', 'p') AND NOT relispartition AND relpersistence <> 't'
      AND relname <> 'alembic_version' AND nspname !~ '^pg_' AND nspname <> 'information_schema'
      AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = pg_class.oid AND deptype = 'e')
    ORDER BY 1, 2
"""
_DERIVED = "SELECT conname FROM pg_constraint WHERE contype = 'f' AND conparentid <> 0"


def faults(revisions: Revisions, start: Start, oldest: str | None = None) -> Iterator[str]:
    """Yield the faults of the revisions, in one sentence each.

    Args:
        revisions: the revisions of a service.
        start: creates a database to try them on; earlier connections are no longer used then.
        oldest: the oldest revision that a database to be upgraded may be at; None is the first.

    Raises:
        InfrastructureError: the server fails.
    """
    chain = revisions.chain
    known: dict[str | None, int] = {each.revision: n for n, each in enumerate(chain, 1)}
    known[None] = 1
    if oldest not in known:
        yield f"there is no revision {oldest}, which oldest_revision names"
        return
    starts, fault = _walk(revisions, start, known[oldest])
    if fault:
        yield fault
    for number in starts:
        connection = start(chain[:number])
        populate(connection)
        if error := _refused(revisions, connection, chain[number:]):
            at = chain[number - 1].revision
            yield f"all at once from {at}, they do not go up: {error.message}"


def _walk(revisions: Revisions, start: Start, first: int) -> tuple[list[int], str | None]:
    """Apply one revision after the other, on rows; return the starts to try, and a fault if any."""
    chain = revisions.chain
    starts: list[int] = []
    connection = start(chain[:first])
    populate(connection)
    for number, revision in enumerate(chain[first:], first):
        statements: list[str] = []
        with _recorded(connection, statements):
            error = _refused(revisions, connection, (revision,))
        if error:
            return (
                starts,
                f"{revision.revision} does not go up on tables with rows: {error.message}",
            )
        follows = number + 1 < len(chain)
        if follows and any(_LEAVES.search(each) for each in statements if not _OWN.match(each)):
            starts.append(number)
        populate(connection)
    return starts, None


def _refused(
    revisions: Revisions, connection: sa.Connection, chain: Chain
) -> MigrationError | None:
    """Apply revisions at once; return the error, unless only the values of the rows caused it."""
    try:
        revisions.apply(connection, *chain)
    except MigrationError as error:
        if not _of_values(error.__cause__):
            return error
    else:
        return None
    # Some of them may have been committed: the next attempt begins where this one has ended.
    empty(connection)
    at = connection.scalars(sa.text("SELECT version_num FROM alembic_version")).all()
    connection.rollback()
    done = {each.revision for each in revisions.up_to(*at)}
    try:
        revisions.apply(connection, *(each for each in chain if each.revision not in done))
    except MigrationError as error:
        return error
    return None


def _of_values(error: BaseException | None) -> bool:
    """Return whether other rows might have passed; no row has a value for a new column."""
    if not isinstance(error, DBAPIError):
        return False
    state = str(getattr(error.orig, "sqlstate", None))
    bound = state == _NOT_NULL and _ADDS_COLUMN.search(error.statement or "")
    return state.startswith(_OF_ROWS) and not bound


@contextmanager
def _recorded(connection: sa.Connection, statements: list[str]) -> Iterator[None]:
    """Record the statements of a connection for the length of the block."""

    def note(_: object, __: object, statement: str, *___: object) -> None:
        statements.append(statement)

    sa.event.listen(connection, "before_cursor_execute", note)
    try:
        yield
    finally:
        sa.event.remove(connection, "before_cursor_execute", note)


def tables(connection: sa.Connection) -> list[tuple[str, str]]:
    """Return the schemas and names of a database's tables, except partitions."""
    return [(schema, name) for schema, name in connection.execute(sa.text(_TABLES))]


def populate(connection: sa.Connection) -> list[str]:
    """Insert a row into each empty table if one can be generated; return the tables without."""
    metadata, without = sa.MetaData(), []
    rows = Rows("pending", defaultdict(int))

    def parent(key: sa.ForeignKeyConstraint, known: Row) -> Row:
        table = key.referred_table
        found = connection.execute(
            sa.select(table).where(*(column == each for column, each in known.items())).limit(1)
        ).one_or_none()
        if found:
            return dict(zip(table.columns, found, strict=True))
        return add(table, known)

    def add(table: sa.Table, known: Row) -> Row:
        with rows.making(table, known, parent, connection) as row:
            row.update(insert(connection, table, row))
        return row

    for schema, name in tables(connection):
        try:
            with connection.begin_nested():
                if not _has_row(connection, schema, name):
                    table = sa.Table(name, metadata, schema=schema, autoload_with=connection)
                    _forget_keys_of_partitions(connection, metadata)
                    add(table, {})
                    connection.execute(sa.text("SET CONSTRAINTS ALL IMMEDIATE"))
        except (BuildError, SQLAlchemyError):
            without.append(f"{schema}.{name}")
    connection.commit()
    return without


def _forget_keys_of_partitions(connection: sa.Connection, metadata: sa.MetaData) -> None:
    """Remove the keys to single partitions, which PostgreSQL derives from one to their table."""
    derived = set(connection.scalars(sa.text(_DERIVED)))
    for table in metadata.tables.values():
        for key in table.foreign_key_constraints:
            if key.name in derived:
                table.constraints.discard(key)
                for each in key.elements:
                    table.foreign_keys.discard(each)
                    each.parent.foreign_keys.discard(each)


def empty(connection: sa.Connection) -> None:
    """Delete the rows of all tables."""
    connection.rollback()
    quoted = connection.dialect.identifier_preparer.quote
    listed = ", ".join(f"{quoted(schema)}.{quoted(name)}" for schema, name in tables(connection))
    if listed:
        connection.execute(sa.text(f"TRUNCATE {listed} CASCADE"))
    connection.commit()


def _has_row(connection: sa.Connection, schema: str, name: str) -> bool:
    table = sa.table(name, schema=schema)
    return bool(
        connection.scalar(sa.select(sa.exists(sa.select(sa.literal(1)).select_from(table))))
    )
