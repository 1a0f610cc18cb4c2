"""A worker's own database: cleaned after each test, which has to let go of it first."""

from contextlib import AbstractContextManager, suppress
from typing import Any

from psycopg import errors

from ..database import Cleaner, connect, url
from ..servers.waiting import until

LOCK_TIMEOUT = "1s"
"""How long cleaning waits for a lock that a test may just be giving back."""
GRACE = 0.5
"""Seconds that a connection may take to come to rest: a rollback may be under way."""

_HOLDERS = """
    SELECT pid, state, left(query, 200) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
      AND (state = 'active' OR starts_with(state, 'idle in transaction'))
      -- Not a worker of autovacuum, which is no test's.
      AND backend_type = 'client backend'
"""
_END = "SELECT pg_terminate_backend(%s, 10000)"
"""It waits for the end: a commit that is under way may still land before it."""


class IsolatedDatabase(AbstractContextManager["IsolatedDatabase"]):
    """A database that is brought back to its first state after each test."""

    def __init__(self, server: str, name: str, *, grace: float = GRACE) -> None:
        """Take over the database `name` on `server`, as it is now; see GRACE."""
        self._grace = grace
        self.url = url(server, name).render_as_string(hide_password=False)
        self._connection = connect(server, name)
        # Without it, cleaning would wait for ever for a transaction that a test has left open.
        self._connection.execute(f"SET lock_timeout = '{LOCK_TIMEOUT}'")
        self._wipe = Cleaner(self._connection)

    def clean(self) -> None:
        """Delete what has been written.

        Raises:
            AssertionError: somebody has left a transaction open, or a statement running. Their
                connection has been ended, so that the next test does not meet it.
        """
        # First of all: what is committed after the wipe would be there for the next test.
        left = self._ended()
        try:
            self._wipe()
        except errors.LockNotAvailable:
            # By somebody who has begun since, or of a role whose sessions ours may not see.
            left += self._ended() + self._wiped_after_all()
        if left:
            listed = "\n".join(f"  {each}" for each in left)
            raise AssertionError(
                f"the test left connections to the database open:\n{listed}\n"
                "End what it begins: `async with engine.begin()`, and await the tasks it starts."
            )

    def __exit__(self, *_: object) -> None:
        """Close our connection."""
        self._connection.close()

    def _ended(self) -> list[str]:
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

    def _wiped_after_all(self) -> list[str]:
        """Wipe; return who is in the way even now, if there is somebody."""
        try:
            self._wipe()
        except errors.LockNotAvailable as error:
            who = self._connection.info.user
            return [f"one that the role {who} may not see: {error}"]
        return []
