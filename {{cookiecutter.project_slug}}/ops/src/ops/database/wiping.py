"""Undoing what a test wrote, in one round trip, over committed data.

It looks before it acts, so that a test which wrote nothing costs nothing, and a superuser's touches
only the tables that were written. It deletes where TRUNCATE would take some twenty times as long
for the few rows of a test. It is a function of the session, whose plans PostgreSQL keeps: planned
anew for each test, it takes three times as long. What migrations have seeded comes back row for
row, and sequences go back to where they were.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from psycopg import sql

from .connection import Connection

_TABLES = """
    SELECT pg_class.oid::int8, format('%I.%I', nspname, relname)
    FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
    -- Partitions are emptied through their parent.
    WHERE relkind IN ('r', 'p') AND NOT relispartition AND relname <> 'alembic_version'
      AND NOT starts_with(nspname, 'pg_') AND nspname <> 'information_schema'
      AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = pg_class.oid AND deptype = 'e')
    ORDER BY 2
"""
_TRIGGERS = """
    SELECT tgrelid::regclass::text, quote_ident(tgname) FROM pg_trigger
    -- Those that do not fire for a superuser's either.
    WHERE NOT tgisinternal AND tgenabled = 'O'
      AND coalesce(pg_partition_root(tgrelid), tgrelid) = ANY (%s::text[]::regclass[])
    ORDER BY 1, 2
"""
_SEQUENCES = """
    SELECT format('%I.%I', schemaname, sequencename)
    FROM pg_sequences WHERE NOT starts_with(schemaname, 'pg_') ORDER BY 1
"""
_COLUMNS = """
    SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute
    WHERE attrelid = %s::oid AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
"""

_ANY_BYTE = "surrogateescape"
"""How text is decoded and encoded: a database may hold any bytes, and they have to come back."""

_FUNCTION = "CREATE FUNCTION pg_temp.wipe() RETURNS void LANGUAGE plpgsql AS {}"
_BODY = """
    #variable_conflict use_column -- Else a column `found` would be taken for PL/pgSQL's variable.
    BEGIN
        {}
    END
"""
_FILLED = "EXISTS (SELECT FROM {})"
_DELETE = "DELETE FROM {}"
_DIFFERS = """EXISTS (
    (SELECT {row} FROM {table} EXCEPT ALL SELECT {row} FROM {kept})
    UNION ALL
    (SELECT {row} FROM {kept} EXCEPT ALL SELECT {row} FROM {table})
)"""
_INSERT = "INSERT INTO {table} ({columns}) OVERRIDING SYSTEM VALUE SELECT * FROM {kept}"
_SET_BACK = """
    IF (SELECT (last_value, is_called) FROM {sequence})
        IS DISTINCT FROM ({value}::int8, {called})
    THEN
        PERFORM setval({name}, {value}, {called});
    END IF;
"""


@dataclass(frozen=True, slots=True)
class State:
    """The rows and sequences of a database."""

    rows: dict[str, str]
    """What each table holds, as COPY writes it; tables without rows are left out."""
    sequences: dict[str, tuple[int, bool]]
    """Of each sequence its last value, and whether that has been handed out."""

    @classmethod
    def of(cls, connection: Connection) -> "State":
        """Return the state that a database is in."""
        tables = connection.execute(_TABLES).fetchall()
        sequences = [name for (name,) in connection.execute(_SEQUENCES).fetchall()]
        filled = _each(connection, "EXISTS (SELECT FROM {})", [table for _, table in tables])
        rows = {
            table: _rows(connection, _columns(connection, oid), table)
            for (oid, table), some in zip(tables, filled, strict=True)
            if some
        }
        last = _each(connection, "(SELECT last_value FROM {})", sequences)
        called = _each(connection, "(SELECT is_called FROM {})", sequences)
        return cls(rows, dict(zip(sequences, zip(last, called, strict=True), strict=True)))


class Wipe:
    """What brings one database back to a state.

    Make it over a connection of its own that stays open. The rows that have to come back are kept
    there, in temporary tables; on a superuser's, triggers do not fire any more.
    """

    def __init__(self, connection: Connection, state: State | None = None) -> None:
        """Prepare to come back to `state`, by default that which the database is in now."""
        self._connection = connection
        self._state = state or State.of(connection)
        body = _BODY.format("\n".join(self._steps()))
        connection.execute(sql.SQL(_FUNCTION).format(sql.Literal(body)))

    def __call__(self) -> None:
        """Undo whatever has been written since, in one round trip.

        Raises:
            psycopg.errors.LockNotAvailable: somebody holds on to what was written.
        """
        self._connection.execute("SELECT pg_temp.wipe()")

    def _steps(self) -> Iterator[str]:
        rows = self._state.rows
        tables = self._connection.execute(_TABLES).fetchall()
        empty = [_Table(table, _FILLED.format(table)) for _, table in tables if table not in rows]
        seeded = [self._keep(oid, table, rows[table]) for oid, table in tables if table in rows]
        if self._connection.info.parameter_status("is_superuser") == "on":
            # Neither foreign keys, with their cycles and orders, nor triggers see what we do.
            # Of the whole session: whenever it changes, the plans are thrown away.
            self._connection.execute("SET session_replication_role = replica")
            yield from (_if(each.written, *each.undo) for each in empty + seeded)
        else:
            yield from self._as_plain_role(empty, seeded)
        for (sequence,) in self._connection.execute(_SEQUENCES).fetchall():
            if sequence in self._state.sequences:
                value, called = self._state.sequences[sequence]
                name = sql.quote(sequence)
                yield _SET_BACK.format(sequence=sequence, name=name, value=value, called=called)

    def _as_plain_role(self, empty: list["_Table"], seeded: list["_Table"]) -> Iterator[str]:
        """Yield the steps for a role that has to obey foreign keys and triggers.

        Keys are looked at when a statement is over: one that empties all tables at once meets
        neither their cycles nor their actions. So seeds go and come back together; as long as they
        are as they were, nothing of theirs refers to what is deleted.
        """
        names = [each.name for each in empty + seeded]
        triggers = self._connection.execute(_TRIGGERS, (names,)).fetchall()
        off = [f"ALTER TABLE {table} DISABLE TRIGGER {name}" for table, name in triggers]
        on = [f"ALTER TABLE {table} ENABLE TRIGGER {name}" for table, name in triggers]
        # Of deferred keys, checks would be pending, and the triggers could not be changed.
        off.insert(0, "SET CONSTRAINTS ALL IMMEDIATE")
        if seeded:
            deleted = _at_once(each.delete for each in seeded + empty)
            restored = _at_once(each.insert for each in seeded)
            differs = " OR ".join(each.written for each in seeded)
            yield _if(differs, *off, deleted, restored, *on)
        if empty:
            filled = " OR ".join(each.written for each in empty)
            yield _if(filled, *off, _at_once(each.delete for each in empty), *on)

    def _keep(self, oid: int, table: str, rows: str) -> "_Table":
        """Keep the rows of a table where the session can take them from."""
        columns = _columns(self._connection, oid)
        kept = f"pg_temp.seeded_{oid}"
        create = "CREATE TABLE {} AS SELECT {} FROM {} WITH NO DATA"
        self._connection.execute(sql.SQL(create.format(kept, columns, table)))
        with self._connection.cursor().copy(sql.SQL(f"COPY {kept} FROM STDIN")) as copy:
            copy.write(rows.encode(errors=_ANY_BYTE))
        # As text: not every type, json for one, can be compared.
        row = f"ROW({columns})::text"
        return _Table(
            table,
            _DIFFERS.format(row=row, table=table, kept=kept),
            _INSERT.format(table=table, columns=columns, kept=kept),
        )


@dataclass(frozen=True, slots=True)
class _Table:
    """What there is to say about a table in SQL."""

    name: str
    written: str
    """The condition that it is not as it was."""
    insert: str = ""
    """The statement that fills it as it was, unless it was empty."""

    @property
    def delete(self) -> str:
        return _DELETE.format(self.name)

    @property
    def undo(self) -> list[str]:
        return [self.delete, self.insert] if self.insert else [self.delete]


def _if(condition: str, *statements: str) -> str:
    return f"IF {condition} THEN {'; '.join(statements)}; END IF;"


def _at_once(statements: Iterable[str]) -> str:
    """Return one statement that does what several do."""
    *others, last = statements
    parts = ", ".join(f"part_{number} AS ({each})" for number, each in enumerate(others))
    return f"WITH {parts} {last}" if parts else last


def _each(connection: Connection, expression: str, relations: list[str]) -> list[Any]:
    """Return the value of an expression for each relation, in one round trip."""
    values = ", ".join(expression.format(relation) for relation in relations)
    return list(connection.execute(sql.SQL(f"SELECT {values}")).fetchone() or ())


def _columns(connection: Connection, oid: int) -> str:
    (columns,) = connection.execute(_COLUMNS, (oid,)).fetchone() or ("",)
    return str(columns)


def _rows(connection: Connection, columns: str, table: str) -> str:
    query = sql.SQL("COPY (SELECT {} FROM {}) TO STDOUT")
    with connection.cursor().copy(query.format(sql.SQL(columns), sql.SQL(table))) as rows:
        return b"".join(bytes(row) for row in rows).decode(errors=_ANY_BYTE)
