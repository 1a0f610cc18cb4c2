"""Cleanup of a test's committed writes, in one round trip.

It checks before it acts. If no writing transaction has ended since the last cleanup, it checks only
sequences, which advance without one; otherwise it checks each table, and a superuser's cleaner
touches only modified tables. It uses DELETE: for the few rows of a test, TRUNCATE takes some twenty
times as long. It is a function of the session, so that PostgreSQL caches its plans: replanning it
for each test takes three times as long. Rows seeded by migrations are restored row by row (see
`seeds`), sequences are reset, large objects deleted, and materialized views refreshed.

It verifies its work: rules, triggers and policies that would keep rows are disabled meanwhile, and
anything left afterwards raises an error that names it, instead of surprising a later test.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from psycopg import Error, errors, sql

from ..schema import fingerprint
from .connection import Connection, assembled
from .relations import CleaningError, Table, View, tables, views
from .seeds import ANY_BYTE, OURS, Seed, keep

_SEQUENCES = """
    SELECT format('%I.%I', schemaname, sequencename), start_value
    FROM pg_sequences WHERE NOT starts_with(schemaname, 'pg_') ORDER BY 1
"""

_FUNCTION = "CREATE OR REPLACE FUNCTION pg_temp.wipe() RETURNS text LANGUAGE plpgsql AS {}"
_BODY = """
    #variable_conflict use_column -- Else a column named `found` would be PL/pgSQL's variable.
    <<strata>>
    DECLARE
        before pg_snapshot := pg_current_snapshot();
        seen text := before;
        since xid := nullif(current_setting('{since}', true), '');
        mine xid[] := nullif(current_setting('{mine}', true), '');
        read int8;
        own xid8;
        written bool[];
        lost bool;
        schema text;
    BEGIN
        -- Every write since then has ended a transaction that had an ID.
        IF strata.seen IS DISTINCT FROM current_setting('{seen}', true) THEN
            strata.schema := ({objects});
            -- Read afterwards: the query above reads the catalog itself.
            strata.read := {read};
            {rows}
        END IF;
        {sequences}
        strata.own := pg_current_xact_id_if_assigned();
        IF strata.own IS NOT NULL THEN
            -- With no other transaction in flight, the snapshot after ours is known.
            strata.seen := CASE strata.seen WHEN format('%1$s:%1$s:', strata.own)
                THEN format('%1$s:%1$s:', strata.own::text::int8 + 1) END;
        END IF;
        strata.since := pg_snapshot_xmin(strata.before);
        IF strata.mine IS NOT NULL THEN
            strata.mine := ARRAY(SELECT each FROM unnest(strata.mine) AS each
                                 WHERE age(each) <= age(strata.since));
            PERFORM set_config('{mine}', strata.mine::text, false);
        END IF;
        PERFORM set_config('{seen}', strata.seen, false);
        PERFORM set_config('{since}', strata.since::text, false);
        RETURN strata.schema;
    END
"""
_SETTINGS = {"seen": "strata.seen", "since": "strata.since", "mine": "strata.mine"}
"""Session settings that hold what the function knows of writing transactions: a snapshot, which
changes with each; the first transaction whose rows are unknown; and our own ones after it."""
_READ = "pg_stat_get_xact_numscans('pg_catalog.pg_class_oid_index'::regclass)"
"""Number of catalog reads by which the session has found tables: one for each changed table."""
REREAD = " reread"
_REREAD = f"IF {_READ} > strata.read THEN strata.schema := strata.schema || '{REREAD}'; END IF;"
_STATE = "OC001"
"""SQLSTATE of the errors that the function itself raises."""
_RAISE = f"RAISE EXCEPTION USING ERRCODE = '{_STATE}', MESSAGE = {{}}"
_OBJECTS = "SELECT oid::int8, md5(lo_get(oid)) FROM pg_largeobject_metadata ORDER BY 1"
_OTHER_OBJECTS = "FROM pg_largeobject_metadata WHERE oid <> ALL ('{{{oids}}}'::oid[])"
_POPULATED = "(SELECT relispopulated FROM pg_class WHERE oid = {})"
_FILLED = "EXISTS (SELECT FROM {})"
_DELETE = "DELETE FROM {}"
_NOW = "SELECT set_config(%s, pg_snapshot_xmin(pg_current_snapshot())::xid::text, false)"
_WRITTEN = "strata.written[{}]"
_MOVED = "(SELECT (last_value, is_called) FROM {}) IS DISTINCT FROM ({}::int8, {})"


@dataclass(frozen=True, slots=True)
class State:
    """The rows, sequences and large objects of a database."""

    rows: dict[str, str]
    """Rows of each table and view in COPY format; empty ones are left out."""
    sequences: dict[str, tuple[int, bool]]
    """Last value of each sequence, and whether it has been handed out."""
    unpopulated: list[str]
    """Materialized views that were not populated."""
    objects: dict[str, str]
    """Hash of each large object by its OID, as text because JSON's keys are strings."""

    @classmethod
    def of(cls, connection: Connection) -> "State":
        """Return the current state of a database.

        Raises:
            CleaningError: the role cannot see all of it.
        """
        found = tables(connection)
        try:
            # Rolled back: to see hidden rows, the role has to disable its own policies.
            with connection.transaction(force_rollback=True):
                for each in found:
                    if each.policies:
                        connection.execute(assembled(each.policies.off))
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
    """Callable that resets one database to a baseline state.

    It needs a dedicated connection that stays open. The rows to restore are kept there in temporary
    tables; on a superuser's connection, triggers no longer fire.

    Tables that are created later are unknown to it, unless there are none to begin with: a
    library's tables are created by its tests, and lose their rows as well.
    """

    def __init__(self, connection: Connection, state: State | None = None) -> None:
        """Prepare to restore `state`, by default the current state of the database.

        Raises:
            CleaningError: the role cannot see everything in the database.
        """
        self.connection = connection
        """Dedicated connection, which the creator has to close."""
        self._superuser = connection.info.parameter_status("is_superuser") == "on"
        if self._superuser:
            # Bypasses foreign keys, with their cycles and order, and triggers.
            # Set for the whole session: each change of it discards the cached plans.
            connection.execute("SET session_replication_role = replica")
        # Replanning the function for each test would take three times as long.
        connection.execute("SET plan_cache_mode = force_generic_plan")
        if state is None:
            # Not for another database's state: it is unknown who wrote the rows in this one.
            connection.execute(_NOW, (_SETTINGS["since"],))
        # A superuser sees all rows, whatever the policies.
        self._in_place = self._superuser and state is None
        self._schema = ""
        self.state = state or State.of(connection)
        """Baseline state that it restores."""
        self._found = tables(connection)
        self.all_are_later = not self._found
        """Whether the database had no tables at first."""
        self._plan()
        # If a policy hides rows all the same, fail instead of seeing only part of them.
        connection.execute("SET row_security = off")

    def __call__(self) -> bool:
        """Undo everything written since, in one round trip.

        Returns:
            Whether the schema, the database's settings or its revision may have changed since; a
            lesser change, such as a TRUNCATE, may count as well.

        Raises:
            CleaningError: something could not be undone. Nothing was.
            psycopg.errors.LockNotAvailable: another session locks what was written.
        """
        try:
            self._follow()
            (found,) = self.connection.execute("SELECT pg_temp.wipe()").fetchone() or (None,)
        except Error as error:
            if error.sqlstate != _STATE and not isinstance(error, errors.InsufficientPrivilege):
                raise
            raise _refused(self.connection, error) from error
        if found is None:
            return False
        before, self._schema = self._schema, found.removesuffix(REREAD)
        return bool(found != before)

    def _follow(self) -> None:
        """Rebuild the function if there were no tables at first and they have changed since."""
        if self.all_are_later:
            before, self._found = self._found, tables(self.connection)
            if self._found != before:
                self._plan()

    def _plan(self) -> None:
        body = _BODY.format(
            **_SETTINGS,
            read=_READ,
            objects=fingerprint.version_of_objects(self.connection),
            rows="\n".join(self._steps()),
            sequences="\n".join(self._sequences()),
        )
        self.connection.execute(sql.SQL(_FUNCTION).format(sql.Literal(body)))

    def _steps(self) -> Iterator[str]:
        rows = self.state.rows
        looked = [
            _Table(each, _WRITTEN.format(number), self._kept(each) if each.name in rows else None)
            for number, each in enumerate(self._found, 1)
        ]
        policies = [each.policies for each in self._found if each.policies]
        yield from (f"{each.off};" for each in policies)
        # One statement checks all tables, since each statement takes time.
        yield _looked(each.changed for each in looked)
        yield _REREAD
        if self._superuser:
            for each in looked:
                yield _if(each.written, *each.off, *each.restore, *each.on, each.proof)
        else:
            yield from self._as_plain_role(looked)
        yield from (f"{each.on};" for each in policies)
        for view in views(self.connection):
            yield self._refresh(view)
        yield from self._objects()

    def _sequences(self) -> Iterator[str]:
        """Yield the steps that reset sequences."""
        back, moved = [], []
        for name, start in self.connection.execute(_SEQUENCES).fetchall():
            value, called = self.state.sequences.get(name, (start, False))
            moved.append(_MOVED.format(name, value, called))
            back.append(f"PERFORM setval({sql.quote(name)}, {value}, {called})")
        yield _looked(moved)
        for number, statement in enumerate(back, 1):
            yield _if(_WRITTEN.format(number), statement)

    def _as_plain_role(self, looked: list["_Table"]) -> Iterator[str]:
        """Yield the steps for a role that is subject to foreign keys and triggers.

        Foreign keys are checked at the end of a statement: one that empties all tables at once
        runs into neither their cycles nor their actions. So all seeded tables are deleted and
        restored together; while they are unchanged, none of their rows refers to a deleted one.
        """
        for each in looked:
            if each.lack:
                yield _if(each.written, _RAISE.format(sql.quote(each.lack)))
        # Tables that lack rights were not written to, or the steps above have raised.
        empty = [each for each in looked if not each.lack and not each.seed]
        seeded = [each for each in looked if not each.lack and each.seed]
        off = [statement for each in empty + seeded for statement in each.off]
        on = [statement for each in empty + seeded for statement in each.on]
        # Triggers cannot be changed while checks of deferred keys are pending.
        off.insert(0, "SET CONSTRAINTS ALL IMMEDIATE")
        if seeded:
            deleted = _at_once(each.delete for each in seeded + empty)
            restored = _at_once(each.seed.insert for each in seeded if each.seed)
            differs = " OR ".join(each.written for each in seeded)
            proofs = [each.proof_by_value for each in seeded] + [each.proof for each in empty]
            yield _if(differs, *off, OURS, deleted, restored, *on, *proofs)
        if empty:
            filled = " OR ".join(each.written for each in empty)
            deleted = _at_once(each.delete for each in empty)
            yield _if(filled, *off, deleted, *on, *(each.proof for each in empty))

    def _refresh(self, view: View) -> str:
        """Return the step that refreshes a materialized view if its rows have changed."""
        populated = _POPULATED.format(view.oid)
        if view.name in self.state.unpopulated:
            return _if(populated, f"REFRESH MATERIALIZED VIEW {view.name} WITH NO DATA")
        refresh = f"REFRESH MATERIALIZED VIEW {view.name}"
        written = _FILLED.format(view.name)
        if view.name in self.state.rows:
            written = self._kept(view).changed
        # An unpopulated view cannot be queried at all.
        return f"IF NOT {populated} THEN {refresh}; ELSE {_if(written, refresh)} END IF;"

    def _objects(self) -> Iterator[str]:
        """Yield the steps that delete large objects, except those inserted by migrations."""
        seeded = self.state.objects
        oids = ",".join(seeded)
        if seeded:
            same = " AND ".join(
                f"EXISTS (SELECT FROM pg_largeobject_metadata WHERE oid = {oid}"
                f" AND md5(lo_get(oid)) = '{digest}')"
                for oid, digest in seeded.items()
            )
            lost = "large objects that were written by migrations have changed"
            yield _if(f"NOT ({same})", _RAISE.format(sql.quote(lost)))
        others = _OTHER_OBJECTS.format(oids=oids)
        yield _if(f"EXISTS (SELECT {others})", f"PERFORM lo_unlink(oid) {others}")

    def _kept(self, relation: Table | View) -> Seed:
        rows = self.state.rows[relation.name]
        count = rows.count("\n")
        return keep(self.connection, relation, None if self._in_place else rows, count)


@dataclass(frozen=True, slots=True)
class _Table:
    """SQL fragments that clean one table."""

    table: Table
    written: str
    """Condition with the result of `changed`, which is evaluated once."""
    seed: Seed | None
    """SQL that restores its former rows; None if it had none."""

    @property
    def changed(self) -> str:
        """Condition that evaluates whether it was written to."""
        return self.seed.changed if self.seed else _FILLED.format(self.table.name)

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
    def restore(self) -> tuple[str, ...]:
        """Statements with which a superuser restores it."""
        if not self.seed:
            return (self.delete,)
        return (OURS, *self.seed.restore, self._unless("strata.lost"))

    @property
    def proof(self) -> str:
        """Statement that raises an error if its rows still differ."""
        return self._unless(self.changed)

    @property
    def proof_by_value(self) -> str:
        """Same check by value, for rows that have all been inserted again."""
        return self._unless(self.seed.differs if self.seed else self.changed)

    def _unless(self, differs: str) -> str:
        left = f"{self.table.name} is not as it was, though its rows were deleted"
        return _if(differs, _RAISE.format(sql.quote(left))).removesuffix(";")

    @property
    def lack(self) -> str | None:
        """Reason why a plain role cannot restore it; None if it can."""
        name = self.table.name
        if not self.table.writable:
            return f"{name} was written to, and the role may not delete and insert its rows"
        if self.table.switches and not self.table.owned:
            return f"{name} was written to, and only its owner may disable its triggers and rules"
        return None


def _refused(connection: Connection, error: Error) -> CleaningError:
    return CleaningError(
        f"{connection.info.dbname} cannot be cleaned: {error.diag.message_primary}",
        f"let the role {connection.info.user} own it, or use a superuser for tests; or take"
        " `clone_url` in tests that write to it: that database is not cleaned",
    )


def _looked(conditions: Iterable[str]) -> str:
    """Return the statement that evaluates several conditions, see _WRITTEN."""
    return f"strata.written := ARRAY[{', '.join(conditions)}]::bool[];"


def _if(condition: str, *statements: str) -> str:
    return f"IF {condition} THEN {'; '.join(filter(None, statements))}; END IF;"


def _at_once(statements: Iterable[str]) -> str:
    """Combine several statements into one."""
    *others, last = statements
    parts = ", ".join(f"part_{number} AS ({each})" for number, each in enumerate(others))
    return f"WITH {parts} {last}" if parts else last


def _each(connection: Connection, expression: str, relations: list[str]) -> list[Any]:
    """Return the value of an expression for each relation, in one round trip."""
    values = ", ".join(expression.format(relation) for relation in relations)
    return list(connection.execute(assembled(f"SELECT {values}")).fetchone() or ())


def _rows(connection: Connection, relation: Table | View) -> str:
    query = f"COPY (SELECT {relation.columns} FROM {relation.name}) TO STDOUT"  # noqa: S608 - both are quoted by the server
    with connection.cursor().copy(assembled(query)) as rows:
        return b"".join(bytes(row) for row in rows).decode(errors=ANY_BYTE)
