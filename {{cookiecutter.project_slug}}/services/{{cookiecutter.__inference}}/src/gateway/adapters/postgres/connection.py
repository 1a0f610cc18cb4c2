"""Transactions, and what errors in them mean."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from servicebase import postgres

from ... import models

METADATA = models.Base.metadata
violation = partial(postgres.violation, metadata=METADATA)
"""Returns the error of a violated constraint, or None if it is not for a client to know."""


@asynccontextmanager
async def transaction(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """Give a connection, and commit what was done with it unless an error is raised.

    Raises:
        ServiceError: what a client may know of an error that the server or the driver raised.
    """
    with postgres.translated(METADATA):
        async with engine.begin() as connection:
            yield connection
