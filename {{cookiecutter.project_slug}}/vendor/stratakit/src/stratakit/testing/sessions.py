"""Pooled connections of tests, without the session state of earlier tests."""

from sqlalchemy import AdaptedConnection, event
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

# Not DISCARD ALL, which would drop the driver's prepared statements.
_RESET = """
    SET SESSION AUTHORIZATION DEFAULT; RESET ALL; CLOSE ALL; UNLISTEN *;
    SELECT pg_advisory_unlock_all(); DISCARD TEMP; DISCARD SEQUENCES
"""
_TEST = "strata_test"
"""Key of the last test that used a connection."""


class Sessions:
    """Engines of a run, one for each database, whose connections outlive a test."""

    def __init__(self) -> None:
        self._engines: dict[str, AsyncEngine] = {}
        self._test = ""

    def engine(self, url: str, test: str) -> AsyncEngine:
        """Return the engine of a database for the named test."""
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
        """Reset a connection that an earlier test has used when the test first checks it out.

        Raises:
            DisconnectionError: the connection is closed; the pool opens a new one.
        """
        before, entry.info[_TEST] = entry.info.get(_TEST), self._test
        if before in (None, self._test):
            return
        try:
            connection.run_async(lambda own: own.execute(_RESET))
        except Exception as error:  # untyped driver: a closed one raises various
            raise DisconnectionError from error
