"""Test databases: one per worker, cleaned after each test, and copies for single tests."""

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any, Self

from psycopg import Error, errors, sql

from .. import limits, names
from ..database import Cleaner, clone, connect, drop, url
from ..database.cleaning import State
from ..database.guards import terminate_sessions
from ..database.relations import CleaningError
from ..errors import InfrastructureError
from ..schema import fingerprint
from ..servers.waiting import until

LOCK_TIMEOUT = "1s"
"""Timeout of cleaning for a lock that a test may be about to release."""
GRACE = 0.5
"""Seconds a connection may take to become idle: a rollback may be in progress."""

AHEAD = 2
"""Number of databases to copy in advance."""

_HOLDERS = """
    SELECT pid, CASE state WHEN 'idle' THEN 'idle, with an advisory lock' ELSE state END,
      left(query, 200)
    FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
      AND (state = 'active' OR starts_with(state, 'idle in transaction')
           OR pid IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory'))
      -- An autovacuum worker does not belong to a test.
      AND backend_type = 'client backend'
"""
_END = "SELECT pg_terminate_backend(%s, 10000)"
"""The timeout makes it wait for the backend's exit: a commit in progress may still succeed."""


class IsolatedDatabase(AbstractContextManager["IsolatedDatabase"]):
    """Database that is restored to its initial state after each test."""

    def __init__(
        self, server: str, name: str, template: str | None = None, *, grace: float = GRACE
    ) -> None:
        """Connect to a database, whose current state becomes the initial one.

        Args:
            server: URL of the server.
            name: name of the database.
            template: database that it is a copy of, to recreate it; None if that is impossible.
            grace: seconds, as described for GRACE.
        """
        self._server, self._name, self._template, self._grace = server, name, template, grace
        self.url = url(server, name).render_as_string(hide_password=False)
        self._open()

    def _open(self) -> None:
        self._first = self._cleaner = self._prepared()
        self._connection = self._first.connection
        self._facts = fingerprint.shared_facts(self._connection)

    def _prepared(self, state: State | None = None) -> Cleaner:
        """Return a cleaner that restores a state, by default the current one."""
        connection = connect(self._server, self._name)
        # Otherwise cleaning waits forever for a transaction that a test has left open.
        connection.execute(f"SET lock_timeout = '{LOCK_TIMEOUT}'")
        cleaner = Cleaner(connection, state)
        # The first call sets the baseline for the later ones.
        cleaner()
        return cleaner

    def clean(self) -> list[str]:
        """Delete the rows a test has written; return its schema changes.

        After a schema change the database has been recreated. If it had no tables initially, tests
        create their own, which is not a change.

        Raises:
            AssertionError: a transaction was left open, a statement running, or an advisory lock
                held. The connection has been terminated, so it cannot affect the next test.
            CleaningError: the writes or the schema changes cannot be undone.
        """
        # Before cleaning: rows committed after it would remain for the next test.
        left = self._terminate()
        try:
            try:
                suspect = self._cleaner()
            except errors.LockNotAvailable:
                # The holder began since, or belongs to a role whose sessions ours may not see.
                left += self._terminate()
                suspect, held = self._clean_again()
                left += held
            changed = self._changed() if suspect else []
        except (Error, CleaningError):
            # A table was dropped, or a trigger prevents the deletion.
            changed = self._changed()
            if not changed:
                raise
        if changed:
            self._recreate(changed)
        if left:
            listed = "\n".join(f"  {each}" for each in [*left, *changed])
            raise AssertionError(
                f"the test left connections to the database open:\n{listed}\n"
                "End what it begins: `async with engine.begin()`, await the tasks it starts, and"
                " unlock what it locks."
            )
        return changed

    def _changed(self) -> list[str]:
        """Return the differences from the initial schema."""
        if self._cleaner.all_are_later:
            return []
        now = fingerprint.shared_facts(self._connection)
        return [str(each) for each in fingerprint.compare(self._facts, now)]

    def _recreate(self, changed: list[str]) -> None:
        """Replace the database with a new copy of its template.

        Raises:
            CleaningError: there is no template.
        """
        if self._template is None:
            self._facts = fingerprint.shared_facts(self._connection)
            raise CleaningError(
                f"the test changed the shared database {self._name}, which cannot be recreated:\n"
                + "\n".join(changed),
                "drop and create that database; let the role create databases, and use"
                " `clone_url` in tests that change more than rows",
            )
        kept = None if self._cleaner is self._first else self._cleaner.state
        self._cleaner.connection.close()
        self._connection.close()
        with connect(self._server) as admin:
            terminate_sessions(admin, self._name)
            drop(admin, self._name)
        clone(self._server, self._template, self._name)
        self._open()
        if kept:
            self._cleaner = self._prepared(kept)

    @contextmanager
    def keeping(self) -> Iterator[None]:
        """Treat the current rows as part of the initial state for the duration of a block."""
        self._cleaner = self._prepared()
        try:
            yield
        finally:
            self._cleaner.connection.close()
            self._cleaner = self._first

    def __exit__(self, *_: object) -> None:
        """Close the connection."""
        self._connection.close()

    def _terminate(self) -> list[str]:
        """Terminate the sessions that are not idle after the grace period; return them."""
        found: list[Any] = []

        def at_rest() -> None:
            found[:] = self._connection.execute(_HOLDERS).fetchall()
            if found:
                raise AssertionError(found)

        with suppress(TimeoutError):
            until(at_rest, self._grace)
        for pid, _, _ in found:
            self._connection.execute(_END, (pid,))
        return [f"{state}: {query}" for _, state, query in found]

    def _clean_again(self) -> tuple[bool, list[str]]:
        """Clean again; return the cleaner's result, and the session that still blocks it."""
        try:
            return self._cleaner(), []
        except errors.LockNotAvailable as error:
            who = self._connection.info.user
            return False, [f"a session that the role {who} may not see: {error}"]


class ClonePool(AbstractContextManager["ClonePool"]):
    """Pool of databases of one service, for tests that change more than rows.

    A thread copies them while tests run. It drops returned ones with a delay: PostgreSQL waits for
    100 ms if a connection has just been closed.
    """

    def __init__(self, server: str, template: str, run: str, prefix: str) -> None:
        """Make a pool of copies of `template` on `server`; `run` and `prefix` name them."""
        self._server, self._template, self._run, self._prefix = server, template, run, prefix
        self._number = 0
        self._ready: deque[str] = deque()
        self._done: deque[str] = deque()
        self._failure: Exception | None = None
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._work, name="clone-pool", daemon=True)

    def __enter__(self) -> Self:
        """Start to copy."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop; remaining databases, and an unfinished copy, are dropped with the run."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._thread.join(limits.LOCK)

    def take(self) -> str:
        """Return the name of an unused database.

        Raises:
            psycopg.Error: the template could not be copied.
            StrataError: the server refuses the connection or the database, or does not respond.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._ready or self._failure, limits.LOCK):
                raise InfrastructureError(
                    f"no copy of the database {self._template} was made within {limits.LOCK:g} s",
                    "see what the server does: SELECT * FROM pg_stat_activity; then run it again",
                )
            if self._failure:
                raise self._failure
            self._changed.notify_all()
            return self._ready.popleft()

    def give_back(self, name: str) -> None:
        """Return a database to be dropped after its test."""
        with self._changed:
            self._done.append(name)
            self._changed.notify_all()

    def keep(self, name: str) -> str:
        """Keep a database after the run for inspection; return its URL."""
        kept = names.kept(name)
        with connect(self._server) as connection:
            terminate_sessions(connection, name)
            statement = sql.SQL("ALTER DATABASE {} RENAME TO {}")
            connection.execute(statement.format(sql.Identifier(name), sql.Identifier(kept)))
        return self.url(kept)

    def url(self, name: str) -> str:
        """Return the SQLAlchemy URL of one of the databases."""
        return url(self._server, name).render_as_string(hide_password=False)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(
                    lambda: self._stopping or len(self._ready) < AHEAD or len(self._done) > AHEAD
                )
                if self._stopping:
                    return
                old = self._done.popleft() if len(self._done) > AHEAD else None
            try:
                if old:
                    with connect(self._server) as connection:
                        drop(connection, old)
                    continue
                self._number += 1
                name = names.database(self._run, f"{self._prefix}{self._number}")
                clone(self._server, self._template, name)
                # Tests only get its name, so make sure that it can be connected to.
                connect(self._server, name).close()
            except Exception as error:  # noqa: BLE001 - `take` raises it
                with self._changed:
                    self._failure = error
                    self._changed.notify_all()
                return
            with self._changed:
                self._ready.append(name)
                self._changed.notify_all()
