"""Connections of tests: what one test has set for its session, the next does not meet."""

from sqlalchemy import AdaptedConnection, event
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

# Not DISCARD ALL, which takes the statements away that the driver has prepared.
_RESET = """
    SET SESSION AUTHORIZATION DEFAULT; RESET ALL; CLOSE ALL; UNLISTEN *;
    SELECT pg_advisory_unlock_all(); DISCARD TEMP; DISCARD SEQUENCES
"""
_TEST = "strata_test"
"""The key of the last test that has used a connection."""


class Sessions:
    """The engines of a run, one for each database, whose connections outlive a test."""

    def __init__(self) -> None:
        self._engines: dict[str, AsyncEngine] = {}
        self._test = ""

    def engine(self, url: str, test: str) -> AsyncEngine:
        """Return the engine of a database, for the test of that name."""
        self._test = test
        if url not in self._engines:
            self._engines[url] = create_async_engine(url)
            event.listen(self._engines[url].sync_engine, "checkout", self._reset)
        return self._engines[url]

    async def dispose(self) -> None:
        """Close all connections."""
        for engine in self._engines.values():
            await engine.dispose()

    def _reset(self, connection: AdaptedConnection, entry: ConnectionPoolEntry, *_: object) -> None:
        """Reset a connection when a test first takes it that another one has used.

        Raises:
            DisconnectionError: it is closed; the pool makes a new one.
        """
        before, entry.info[_TEST] = entry.info.get(_TEST), self._test
        if before in (None, self._test):
            return
        try:
            connection.run_async(lambda own: own.execute(_RESET))
        except Exception as error:  # the driver has no types, and what is closed raises many
            raise DisconnectionError from error
