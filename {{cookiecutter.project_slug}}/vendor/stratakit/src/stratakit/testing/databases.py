"""The databases of tests: one for each worker, cleaned after each test; others for single tests."""

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
"""How long cleaning waits for a lock that a test may just be giving back."""
GRACE = 0.5
"""Seconds that a connection may take to come to rest: a rollback may be under way."""

AHEAD = 2
"""Databases that are ready before anybody asks for them."""

_HOLDERS = """
    SELECT pid, CASE state WHEN 'idle' THEN 'idle, with an advisory lock' ELSE state END,
      left(query, 200)
    FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
      AND (state = 'active' OR starts_with(state, 'idle in transaction')
           OR pid IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory'))
      -- Not a worker of autovacuum, which is no test's.
      AND backend_type = 'client backend'
"""
_END = "SELECT pg_terminate_backend(%s, 10000)"
"""It waits for the end: a commit that is under way may still land before it."""


class IsolatedDatabase(AbstractContextManager["IsolatedDatabase"]):
    """A database that is brought back to its first state after each test."""

    def __init__(
        self, server: str, name: str, template: str | None = None, *, grace: float = GRACE
    ) -> None:
        """Take over the database `name` on `server`, as it is now; see GRACE.

        Args:
            server: URL of the server.
            name: the database.
            template: what it is a copy of, to be made anew; None where it cannot be.
            grace: seconds.
        """
        self._server, self._name, self._template, self._grace = server, name, template, grace
        self.url = url(server, name).render_as_string(hide_password=False)
        self._open()

    def _open(self) -> None:
        self._first = self._cleaner = self._prepared()
        self._connection = self._first.connection
        self._facts = fingerprint.shared_facts(self._connection)

    def _prepared(self, state: State | None = None) -> Cleaner:
        """Return what comes back to a state, by default that which the database is in now."""
        connection = connect(self._server, self._name)
        # Without it, cleaning would wait for ever for a transaction that a test has left open.
        connection.execute(f"SET lock_timeout = '{LOCK_TIMEOUT}'")
        cleaner = Cleaner(connection, state)
        # From here on it knows what there is.
        cleaner()
        return cleaner

    def clean(self) -> list[str]:
        """Delete what has been written; return what has changed in the schema, if something has.

        The database has been made anew then. Where there was no table at first, tests make some.

        Raises:
            AssertionError: somebody has left a transaction open, a statement running, or an
                advisory lock. Their connection has been ended, so that the next test does not
                meet it.
            CleaningError: what has been written, or changed, cannot be undone.
        """
        # First of all: what is committed after the cleaning would be there for the next test.
        left = self._terminate()
        try:
            try:
                suspect = self._cleaner()
            except errors.LockNotAvailable:
                # By somebody who has begun since, or of a role whose sessions ours may not see.
                left += self._terminate()
                suspect, held = self._clean_again()
                left += held
            changed = self._changed() if suspect else []
        except (Error, CleaningError):
            # Of a table that is gone, or a trigger that keeps rows.
            changed = self._changed()
            if not changed:
                raise
        if changed:
            self._make_anew(changed)
        if left:
            listed = "\n".join(f"  {each}" for each in [*left, *changed])
            raise AssertionError(
                f"the test left connections to the database open:\n{listed}\n"
                "End what it begins: `async with engine.begin()`, await the tasks it starts, and"
                " unlock what it locks."
            )
        return changed

    def _changed(self) -> list[str]:
        """Return what differs in the schema from what it was at first."""
        if self._cleaner.all_are_later:
            return []
        now = fingerprint.shared_facts(self._connection)
        return [str(each) for each in fingerprint.compare(self._facts, now)]

    def _make_anew(self, changed: list[str]) -> None:
        """Put a copy of the template in its place.

        Raises:
            CleaningError: there is none.
        """
        if self._template is None:
            self._facts = fingerprint.shared_facts(self._connection)
            raise CleaningError(
                f"the test changed what others share in {self._name}, which cannot be made anew:\n"
                + "\n".join(changed),
                "drop and create that database; let the role create databases, and take"
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
        """Take the rows that are there as those of its first state, for the length of a block."""
        self._cleaner = self._prepared()
        try:
            yield
        finally:
            self._cleaner.connection.close()
            self._cleaner = self._first

    def __exit__(self, *_: object) -> None:
        """Close our connection."""
        self._connection.close()

    def _terminate(self) -> list[str]:
        """End whoever still holds on to the database after a moment of grace; return them."""
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
        """Clean; return what the cleaner does, and who is in the way even now."""
        try:
            return self._cleaner(), []
        except errors.LockNotAvailable as error:
            who = self._connection.info.user
            return False, [f"one that the role {who} may not see: {error}"]


class ClonePool(AbstractContextManager["ClonePool"]):
    """Databases of one service for those tests that change more than rows.

    A thread copies them while tests run, which takes 10 to 100 ms each. It drops those that are
    done with, and not at once: PostgreSQL waits for 100 ms if a connection has just been closed.
    """

    def __init__(self, server: str, template: str, run: str, prefix: str) -> None:
        """Copy `template` on `server` for the run `run`; `prefix` tells the copies apart."""
        self._server, self._template, self._run, self._prefix = server, template, run, prefix
        self._number = 0
        self._ready: deque[str] = deque()
        self._done: deque[str] = deque()
        self._failure: Exception | None = None
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._work, name="clone-pool", daemon=True)

    def __enter__(self) -> Self:
        """Begin to copy."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop; what is left is dropped with the run, and so is a copy that does not end."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._thread.join(limits.LOCK)

    def take(self) -> str:
        """Return the name of a database that nobody else has.

        Raises:
            psycopg.Error: it could not be copied.
            StrataError: the server refuses the connection or the database, or does not answer.
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
        """Let a database go that its test is done with."""
        with self._changed:
            self._done.append(name)
            self._changed.notify_all()

    def keep(self, name: str) -> str:
        """Take a database out of the run, so that it can be looked at; return its URL."""
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
                # Tests are only given its name, and it has to lead there.
                connect(self._server, name).close()
            except Exception as error:  # noqa: BLE001 - whoever waits for a copy is told of it
                with self._changed:
                    self._failure = error
                    self._changed.notify_all()
                return
            with self._changed:
                self._ready.append(name)
                self._changed.notify_all()
