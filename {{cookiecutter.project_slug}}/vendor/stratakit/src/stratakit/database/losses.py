"""What a person is about to lose: rows, and what taking a migration back drops with its values."""

from collections.abc import Iterator

from psycopg import errors, sql

from .. import names
from . import migrations, runs
from .connection import Connection, beside, connect, maintenance, reading
from .lifecycle import Database

_TABLES = """
    SELECT schemaname, relname FROM pg_stat_user_tables
    -- The temporary tables of others are listed, but cannot be read.
    WHERE relname <> 'alembic_version' AND NOT starts_with(schemaname, 'pg_temp')
    ORDER BY 1, 2
"""
_COLUMNS = """
    SELECT nspname, relname, attname FROM pg_attribute
      JOIN pg_class ON pg_class.oid = attrelid JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE relkind IN ('r', 'p', 'm') AND attnum > 0 AND NOT attisdropped
      AND relname <> 'alembic_version' AND nspname !~ '^(pg_|information_schema$)'
    ORDER BY 1, 2, attnum
"""

Column = tuple[str, str, str]
"""A schema, a table in it, and one of its columns."""


def rows(database: Database) -> dict[str, int]:
    """Return how many rows each table of a database has."""
    with reading(database.server.url, database.name) as connection:
        tables = connection.execute(_TABLES).fetchall()
        return {
            _shown(schema, table): _count(connection, schema, table) for schema, table in tables
        }


def counted(number: int, what: str) -> str:
    """Return a number of things as a person writes it."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def of_rollback(database: Database) -> list[str]:
    """Return the tables and columns that hold something, and that taking a migration back drops.

    A copy of the migrated template is taken back, and nothing is touched.

    Raises:
        MigrationError: a migration has no way down.
        InfrastructureError: the role may not create databases.
    """
    at = database.revision()
    if at is None:
        return []
    dropped = list(_dropped(database, at))
    with connect(database.server.url, database.name) as connection:
        found = [(each, _held(connection, *each)) for each in dropped]
    return [
        f"the {'column' if column else 'table'} {_shown(schema, table)}"
        f"{f'.{column}' if column else ''}: {counted(held, 'value' if column else 'row')}"
        for (schema, table, column), held in found
        if held
    ]


def _dropped(database: Database, at: str) -> Iterator[Column]:
    """Yield what taking back the migration `at` drops: whole tables, without a column's name."""
    server, service = database.server.url, database.service
    with maintenance(server) as connection:
        template = runs.get_or_build_template(connection, server, service)
        with runs.run_over(connection) as identifier:
            name = names.database(identifier, "back")
            runs.create(connection, name, template)
            before = _columns(connection, server, name)
            for step in (at, "-1") if at != migrations.head(service) else ("-1",):
                with beside(connection, server, name) as own:
                    before = _columns(connection, server, name)
                    migrations.rollback(own, service, step)
            after = _columns(connection, server, name)
    tables = {each[:2] for each in after}
    for schema, table, column in before:
        if (schema, table) in tables and (schema, table, column) not in after:
            yield schema, table, column
    for schema, table in dict.fromkeys(each[:2] for each in before):
        if (schema, table) not in tables:
            yield schema, table, ""


def _columns(connection: Connection, server: str, name: str) -> list[Column]:
    with beside(connection, server, name) as own:
        return own.execute(_COLUMNS).fetchall()


def _held(connection: Connection, schema: str, table: str, column: str) -> int:
    try:
        return _count(connection, schema, table, column)
    except (errors.UndefinedTable, errors.UndefinedColumn):
        # The database is not what its migrations make of it.
        return 0


def _count(connection: Connection, schema: str, table: str, column: str = "") -> int:
    counted = sql.Identifier(column) if column else sql.SQL("*")
    query = sql.SQL("SELECT count({}) FROM {}").format(counted, sql.Identifier(schema, table))
    (count,) = connection.execute(query).fetchone() or (0,)
    return int(count)


def _shown(schema: str, table: str) -> str:
    return table if schema == "public" else f"{schema}.{table}"
