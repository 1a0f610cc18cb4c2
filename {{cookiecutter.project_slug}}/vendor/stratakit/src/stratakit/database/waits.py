"""How long a statement waits for somebody else, and who that was where it gave up.

Once a wait is over, the server does not tell any more who was in the way. So it is asked while one
lasts, over a second connection, which is opened for long ones alone.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import psycopg
from psycopg import errors
from psycopg.pq import TransactionStatus

from ..errors import InfrastructureError, StrataError

LOCK, STATEMENT = 10_000, 300_000
"""Milliseconds that a statement waits for a lock, and that one on the maintenance database takes.

What the server, the role or the URL says counts where it is less.
"""
GAVE_UP = (errors.LockNotAvailable, errors.QueryCanceled)
"""What PostgreSQL says when a time is up."""
INTERVAL = 0.05
"""Seconds between two questions who is in the way."""


class Holder(NamedTuple):
    """Somebody who is in the way."""

    who: str
    end: str
    """The statement that ends it."""


class Holding(NamedTuple):
    """Conditions on who is in the way, on `pg_stat_activity` and on `pg_prepared_xacts`."""

    session: str
    prepared: str


_BY_PROCESS = "pid IN (SELECT pid FROM pg_locks AS held WHERE granted AND {held})"
# It has no process. What leads to it is the lock that it has on its own number.
_BY_NUMBER = """transaction IN (
    SELECT own.transactionid FROM pg_locks AS held JOIN pg_locks AS own
      ON own.pid IS NULL AND own.virtualtransaction = held.virtualtransaction
    WHERE held.pid IS NULL AND held.granted AND own.transactionid IS NOT NULL AND {held})
"""


def _of_locks(held: str, session: str = _BY_PROCESS) -> Holding:
    """Return who holds those locks in `pg_locks` for which a condition is true."""
    return Holding(session.format(held=held), _BY_NUMBER.format(held=held))


IN_DATABASE = Holding("datname = %(name)s", "database = %(name)s")
PREPARED = IN_DATABASE._replace(session="false")
ADVISORY = _of_locks("""
    held.locktype = 'advisory' AND held.classid = %(kind)s::oid AND held.objid = %(key)s::oid
""")
BLOCKING = _of_locks(
    """EXISTS (
        SELECT FROM pg_locks AS wanted WHERE wanted.pid = %(pid)s AND NOT wanted.granted
          AND (wanted.locktype, wanted.database, wanted.relation, wanted.page, wanted.tuple,
               wanted.transactionid, wanted.classid, wanted.objid, wanted.objsubid)
            IS NOT DISTINCT FROM
              (held.locktype, held.database, held.relation, held.page, held.tuple,
               held.transactionid, held.classid, held.objid, held.objsubid))
    """,
    session="pid = ANY (pg_blocking_pids(%(pid)s))",
)
_HOLDERS = """
    SELECT concat_ws(' ', 'process', pid, nullif(application_name, ''),
                     'as ' || coalesce(usename, backend_type),
                     'since ' || coalesce(xact_start, backend_start)::timestamptz(0),
                     '(' || state || ')',
                     CASE WHEN query NOT IN ('', '<insufficient privilege>')
                     THEN left(query, 200) END),
           format('SELECT pg_terminate_backend(%%s)', pid)
    FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND {session}
    UNION ALL
    SELECT format('prepared transaction %%L as %%s since %%s',
                  gid, owner, prepared::timestamptz(0)),
           format('ROLLBACK PREPARED %%L, in the database %%s', gid, database)
    FROM pg_prepared_xacts WHERE {prepared}
"""


def at_most(setting: str, milliseconds: int) -> str:
    """Return SQL that gives a limit of the session a value, unless it has a lower one."""
    return f"""
        CASE WHEN current_setting('{setting}')::interval NOT BETWEEN '1ms' AND '{milliseconds}ms'
        THEN set_config('{setting}', '{milliseconds}ms', false) END
    """


def holders(connection: "psycopg.Connection[Any]", how: Holding, **facts: object) -> list[Holder]:
    """Return who is in the way: sessions and prepared transactions."""
    query = _HOLDERS.format(**how._asdict())
    return [Holder(*row) for row in connection.execute(query, facts).fetchall()]


def gave_up(what: str, found: list[Holder]) -> InfrastructureError:
    """Return the error of a wait that was given up, and of who was in the way."""
    who = listed(found) or "somebody whom this role may not see"
    return InfrastructureError(f"{what}: {who}", ending(found))


def listed(found: Sequence[Holder]) -> str:
    """Return who is in the way, as text."""
    return "; ".join(each.who for each in found)


def ending(found: Sequence[Holder]) -> str:
    """Return what helps against those who are in the way."""
    ends = "; ".join(each.end for each in found)
    return "wait for them, or end them" + (f" ({ends})" if ends else "") + ", then run it again"


@contextmanager
def watched(
    connection: "psycopg.Connection[Any]", other: Callable[[], "psycopg.Connection[Any]"]
) -> Iterator[None]:
    """Return who is in the way of a connection where it gives up on them.

    Args:
        connection: whatever is done over it in the block has limits, see `at_most`.
        other: opens another connection to the server.

    Raises:
        InfrastructureError: a time was up.
    """
    query = "SELECT pg_backend_pid(), extract(epoch FROM current_setting('lock_timeout')::interval)"
    pid, limit = connection.execute(query).fetchone() or (0, 0)
    name = connection.info.dbname
    found: list[Holder] = []
    done = threading.Event()

    def watch() -> None:
        # Not at once: hardly any wait is long.
        while not done.wait(float(limit) / 4):
            if connection.info.transaction_status is TransactionStatus.ACTIVE:
                with other() as observer:
                    while not done.wait(INTERVAL):
                        found[:] = holders(observer, BLOCKING, pid=pid) or found

    def quietly() -> None:
        # It is about a message alone, which does without.
        with suppress(psycopg.Error, StrataError):
            watch()

    thread = threading.Thread(target=quietly, name="waits", daemon=True)
    thread.start()
    try:
        yield
    except errors.LockNotAvailable as error:
        raise gave_up(f"{name} is locked by others", found) from error
    except errors.QueryCanceled as error:
        raise InfrastructureError(
            f"PostgreSQL was not done in time: {str(error).strip()}",
            "see what else the server is doing, then run it again",
        ) from error
    finally:
        done.set()
        thread.join()


@contextmanager
def exclusive(connection: "psycopg.Connection[Any]", name: str) -> Iterator[None]:
    """Return who is connected to a database where that keeps it from being copied or dropped.

    Raises:
        InfrastructureError: somebody is, for longer than PostgreSQL waits, which is five seconds.
    """
    try:
        yield
    except errors.ObjectInUse as error:
        found = holders(connection, IN_DATABASE, name=name)
        raise gave_up(f"others are connected to {name}", found) from error
