"""Transactions, whose errors say what a client may know of them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from servicebase.postgres import translated

from ...models import Base


@asynccontextmanager
async def transaction(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """Give a connection, and commit what was done with it unless an error is raised."""
    with translated(Base.metadata):
        async with engine.begin() as connection:
            yield connection
