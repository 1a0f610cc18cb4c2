"""Whole databases for single tests: copied ahead, dropped late, kept where a test failed."""

import threading
from collections import deque
from contextlib import AbstractContextManager
from typing import Self

from psycopg import sql

from .. import limits, names
from ..database import clone, connect, drop, url
from ..database.guards import terminate_sessions
from ..errors import InfrastructureError

AHEAD = 2
"""Databases that are ready before anybody asks for them."""


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
        self._thread = threading.Thread(target=self._work, name="spares", daemon=True)

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
