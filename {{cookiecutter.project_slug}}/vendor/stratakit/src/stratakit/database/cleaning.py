"""Undo what a test wrote, in one round trip, over committed data.

It looks before it acts, so that a test which wrote nothing costs nothing, and a superuser's touches
only the tables that were written. It deletes where TRUNCATE would take some twenty times as long
for the few rows of a test. It is a function of the session, whose plans PostgreSQL keeps: planned
anew for each test, it takes three times as long. What migrations have seeded comes back row for
row, sequences go back to where they were, large objects go, and materialized views are made anew.

It proves what it did: rules, triggers and policies that would keep rows are off meanwhile, and what
is still there afterwards is an error that names it, in place of a test that meets it later.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from psycopg import Error, errors, sql

from .connection import Connection
from .relations import CleaningError, Table, View, tables, views

_SEQUENCES = """
    SELECT format('%I.%I', schemaname, sequencename), start_value
    FROM pg_sequences WHERE NOT starts_with(schemaname, 'pg_') ORDER BY 1
"""
_ANY_BYTE = "surrogateescape"
"""How text is decoded and encoded: a database may hold any bytes, and they have to come back."""

_FUNCTION = "CREATE OR REPLACE FUNCTION pg_temp.wipe() RETURNS void LANGUAGE plpgsql AS {}"
_BODY = """
    #variable_conflict use_column -- Else a column `found` would be taken for PL/pgSQL's variable.
    BEGIN
        {}
    END
"""
_STATE = "OC001"
"""The SQLSTATE of the errors that the function itself raises."""
_RAISE = f"RAISE EXCEPTION USING ERRCODE = '{_STATE}', MESSAGE = {{}}"
_OBJECTS = "SELECT oid::int8, md5(lo_get(oid)) FROM pg_largeobject_metadata ORDER BY 1"
_OTHER_OBJECTS = "FROM pg_largeobject_metadata WHERE oid <> ALL ('{{{oids}}}'::oid[])"
_POPULATED = "(SELECT relispopulated FROM pg_class WHERE oid = {})"
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
    """The rows, sequences and large objects of a database."""

    rows: dict[str, str]
    """What each table and view holds, as COPY writes it; those without rows are left out."""
    sequences: dict[str, tuple[int, bool]]
    """Of each sequence its last value, and whether that has been handed out."""
    unpopulated: list[str]
    """Materialized views that were not filled."""
    objects: dict[str, str]
    """A hash of each large object, by its number: as text, which JSON makes of it anyway."""

    @classmethod
    def of(cls, connection: Connection) -> "State":
        """Return the state that a database is in.

        Raises:
            CleaningError: the role cannot see all of it.
        """
        found = tables(connection)
        try:
            # Rolled back, since the role has to set its own policies aside to see what they hide.
            with connection.transaction(force_rollback=True):
                for each in found:
                    if each.policies:
                        connection.execute(sql.SQL(each.policies.off))
                return cls._seen(connection, found)
        except errors.InsufficientPrivilege as error:
            raise _refused(connection, error) from error

    @classmethod
    def _seen(cls, connection: Connection, found: list[Table]) -> "State":
        made = views(connection)
        relations: list[Table | View] = [*found, *(each for each in made if each.populated)]
        sequences = [name for name, _ in connection.execute(_SEQUENCES).fetchall()]
        filled = _each(connection, _FILLED, [each.name for each in relations])
        rows = {
            each.name: _rows(connection, each)
            for each, some in zip(relations, filled, strict=True)
            if some
        }
        last = _each(connection, "(SELECT last_value FROM {})", sequences)
        called = _each(connection, "(SELECT is_called FROM {})", sequences)
        objects = connection.execute(_OBJECTS).fetchall()
        return cls(
            rows,
            dict(zip(sequences, zip(last, called, strict=True), strict=True)),
            [each.name for each in made if not each.populated],
            {str(oid): digest for oid, digest in objects},
        )


class Cleaner:
    """Bring one database back to a state, as often as it is called.

    Make it over a connection of its own that stays open. The rows that have to come back are kept
    there, in temporary tables; on a superuser's, triggers do not fire any more.

    Tables that are made later are not known to it, unless there are none to begin with: those of a
    library are made by its tests, and lose their rows as well.
    """

    def __init__(self, connection: Connection, state: State | None = None) -> None:
        """Prepare to come back to `state`, by default that which the database is in now.

        Raises:
            CleaningError: the role cannot see all that is in the database.
        """
        self._connection = connection
        self._superuser = connection.info.parameter_status("is_superuser") == "on"
        if self._superuser:
            # Neither foreign keys, with their cycles and orders, nor triggers see what we do.
            # Of the whole session: whenever it changes, the plans are thrown away.
            connection.execute("SET session_replication_role = replica")
        self._state = state or State.of(connection)
        self._found = tables(connection)
        self._all_are_later = not self._found
        self._plan()
        # Where a policy hides rows all the same, an error rather than a part of them.
        connection.execute("SET row_security = off")

    def __call__(self) -> None:
        """Undo whatever has been written since, in one round trip.

        Raises:
            CleaningError: something could not be undone. Nothing was.
            psycopg.errors.LockNotAvailable: somebody holds on to what was written.
        """
        try:
            self._follow()
            self._connection.execute("SELECT pg_temp.wipe()")
        except Error as error:
            if error.sqlstate != _STATE and not isinstance(error, errors.InsufficientPrivilege):
                raise
            raise _refused(self._connection, error) from error

    def _follow(self) -> None:
        """Write the function anew if there were no tables at first, and now others than before."""
        if self._all_are_later:
            before, self._found = self._found, tables(self._connection)
            if self._found != before:
                self._plan()

    def _plan(self) -> None:
        body = _BODY.format("\n".join(self._steps()))
        self._connection.execute(sql.SQL(_FUNCTION).format(sql.Literal(body)))

    def _steps(self) -> Iterator[str]:
        rows = self._state.rows
        empty = [
            _Table(each, _FILLED.format(each.name)) for each in self._found if each.name not in rows
        ]
        seeded = [_Table(each, *self._kept(each)) for each in self._found if each.name in rows]
        policies = [each.policies for each in self._found if each.policies]
        yield from (f"{each.off};" for each in policies)
        if self._superuser:
            for each in empty + seeded:
                yield _if(each.written, *each.off, each.delete, each.insert, *each.on, each.proof)
        else:
            yield from self._as_plain_role(empty, seeded)
        yield from (f"{each.on};" for each in policies)
        for view in views(self._connection):
            yield self._refresh(view)
        yield from self._objects()
        for sequence, start in self._connection.execute(_SEQUENCES).fetchall():
            value, called = self._state.sequences.get(sequence, (start, False))
            name = sql.quote(sequence)
            yield _SET_BACK.format(sequence=sequence, name=name, value=value, called=called)

    def _as_plain_role(self, empty: list["_Table"], seeded: list["_Table"]) -> Iterator[str]:
        """Yield the steps for a role that has to obey foreign keys and triggers.

        Keys are looked at when a statement is over: one that empties all tables at once meets
        neither their cycles nor their actions. So seeds go and come back together; as long as they
        are as they were, nothing of theirs refers to what is deleted.
        """
        for each in empty + seeded:
            if each.lack:
                yield _if(each.written, _RAISE.format(sql.quote(each.lack)))
        # Those that may not be written to have not been, or we are not here.
        empty, seeded = ([each for each in some if not each.lack] for some in (empty, seeded))
        off = [statement for each in empty + seeded for statement in each.off]
        on = [statement for each in empty + seeded for statement in each.on]
        # Of deferred keys, checks would be pending, and the triggers could not be changed.
        off.insert(0, "SET CONSTRAINTS ALL IMMEDIATE")
        if seeded:
            deleted = _at_once(each.delete for each in seeded + empty)
            restored = _at_once(each.insert for each in seeded)
            differs = " OR ".join(each.written for each in seeded)
            proofs = [each.proof for each in seeded + empty]
            yield _if(differs, *off, deleted, restored, *on, *proofs)
        if empty:
            filled = " OR ".join(each.written for each in empty)
            deleted = _at_once(each.delete for each in empty)
            yield _if(filled, *off, deleted, *on, *(each.proof for each in empty))

    def _refresh(self, view: View) -> str:
        """Return the step that refreshes a materialized view if its rows have changed."""
        populated = _POPULATED.format(view.oid)
        if view.name in self._state.unpopulated:
            return _if(populated, f"REFRESH MATERIALIZED VIEW {view.name} WITH NO DATA")
        refresh = f"REFRESH MATERIALIZED VIEW {view.name}"
        written = _FILLED.format(view.name)
        if view.name in self._state.rows:
            written, _ = self._kept(view)
        # One that is not filled cannot be asked at all.
        return f"IF NOT {populated} THEN {refresh}; ELSE {_if(written, refresh)} END IF;"

    def _objects(self) -> Iterator[str]:
        """Yield the steps that delete large objects, except those inserted by migrations."""
        seeded = self._state.objects
        oids = ",".join(seeded)
        if seeded:
            same = " AND ".join(
                f"EXISTS (SELECT FROM pg_largeobject_metadata WHERE oid = {oid}"
                f" AND md5(lo_get(oid)) = '{digest}')"
                for oid, digest in seeded.items()
            )
            lost = "large objects that migrations have written are not as they were"
            yield _if(f"NOT ({same})", _RAISE.format(sql.quote(lost)))
        others = _OTHER_OBJECTS.format(oids=oids)
        yield _if(f"EXISTS (SELECT {others})", f"PERFORM lo_unlink(oid) {others}")

    def _kept(self, relation: Table | View) -> tuple[str, str]:
        """Copy the rows to keep into a temporary table of the session.

        Returns the condition that those of the table differ, and the statement that inserts them.
        """
        table, columns = relation.name, relation.columns
        kept = f"pg_temp.seeded_{relation.oid}"
        create = "CREATE TABLE {} AS SELECT {} FROM {} WITH NO DATA"
        self._connection.execute(sql.SQL(create.format(kept, columns, table)))
        with self._connection.cursor().copy(sql.SQL(f"COPY {kept} FROM STDIN")) as copy:
            copy.write(self._state.rows[table].encode(errors=_ANY_BYTE))
        # As text: not every type, json for one, can be compared.
        row = f"ROW({columns})::text"
        return (
            _DIFFERS.format(row=row, table=table, kept=kept),
            _INSERT.format(table=table, columns=columns, kept=kept),
        )


@dataclass(frozen=True, slots=True)
class _Table:
    """The parts of SQL that clean one table."""

    table: Table
    written: str
    """The condition that its rows have changed."""
    insert: str = ""
    """The statement that inserts its former rows; empty if it had none."""

    @property
    def delete(self) -> str:
        return _DELETE.format(self.table.name)

    @property
    def off(self) -> list[str]:
        return [each.off for each in self.table.switches]

    @property
    def on(self) -> list[str]:
        return [each.on for each in self.table.switches]

    @property
    def proof(self) -> str:
        """The statement that raises an error if its rows still differ."""
        left = f"{self.table.name} is not as it was, though its rows were deleted"
        return _if(self.written, _RAISE.format(sql.quote(left))).removesuffix(";")

    @property
    def lack(self) -> str | None:
        """Why a plain role cannot bring it back; None if it can."""
        name = self.table.name
        if not self.table.writable:
            return f"{name} was written to, and the role may not delete and insert its rows"
        if self.table.switches and not self.table.owned:
            return f"{name} was written to, and only its owner may set its triggers and rules aside"
        return None


def _refused(connection: Connection, error: Error) -> CleaningError:
    return CleaningError(
        f"{connection.info.dbname} cannot be cleaned: {error.diag.message_primary}",
        f"let the role {connection.info.user} own it, or use a superuser for tests; or take"
        " `clone_url` in tests that write to it: that database is not cleaned",
    )


def _if(condition: str, *statements: str) -> str:
    return f"IF {condition} THEN {'; '.join(filter(None, statements))}; END IF;"


def _at_once(statements: Iterable[str]) -> str:
    """Return one statement that does what several do."""
    *others, last = statements
    parts = ", ".join(f"part_{number} AS ({each})" for number, each in enumerate(others))
    return f"WITH {parts} {last}" if parts else last


def _each(connection: Connection, expression: str, relations: list[str]) -> list[Any]:
    """Return the value of an expression for each relation, in one round trip."""
    values = ", ".join(expression.format(relation) for relation in relations)
    return list(connection.execute(sql.SQL(f"SELECT {values}")).fetchone() or ())


def _rows(connection: Connection, relation: Table | View) -> str:
    query = f"COPY (SELECT {relation.columns} FROM {relation.name}) TO STDOUT"  # noqa: S608 - both are quoted by the server
    with connection.cursor().copy(sql.SQL(query)) as rows:
        return b"".join(bytes(row) for row in rows).decode(errors=_ANY_BYTE)
