"""Repository on PostgreSQL, beyond its contract: transactions and concurrent writers."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import nullcontext
from typing import Any, Literal
from uuid import UUID

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, async_sessionmaker

from servicebase import errors
from stratakit.testing import eventually
from stratakit.testing.locks import waiting

from ..models import PostgresNotes
from ..notes import NewNote, Note, Notes

LAMP = NewNote(name="lamp")
ONE, OTHER = UUID(int=7), UUID(int=8)


def within(connection: AsyncConnection) -> PostgresNotes:
    """Return a repository whose transactions are savepoints in the connection's own."""
    sessions = async_sessionmaker(connection, join_transaction_mode="create_savepoint")
    return PostgresNotes(sessions)


async def meet(
    engine: AsyncEngine,
    first: Callable[[Notes], Awaitable[Note]],
    second: Coroutine[Any, Any, Note],
    end: Literal["commit", "rollback"] = "commit",
) -> asyncio.Task[Note]:
    """Return the second of two writers, which has waited for the end of the first."""
    async with engine.connect() as connection, connection.begin() as transaction:
        await first(within(connection))
        task = asyncio.create_task(second)
        await eventually(lambda: waiting(engine))
        await getattr(transaction, end)()
    return task


async def test_a_call_joins_the_surrounding_transaction_which_a_failed_one_leaves_usable(
    postgres_notes: Notes, engine: AsyncEngine
) -> None:
    async with engine.connect() as connection, connection.begin() as transaction:
        repository = within(connection)
        await repository.add(ONE, LAMP)
        with pytest.raises(errors.ConflictError):
            await repository.add(OTHER, LAMP)
        assert len(await repository.page(limit=2)) == 1
        assert not await postgres_notes.page(limit=1)
        await transaction.rollback()
    assert not await postgres_notes.page(limit=1)


@pytest.mark.parametrize(
    ("id_", "end", "kept"),
    [(OTHER, "commit", ONE), (OTHER, "rollback", OTHER), (ONE, "commit", ONE)],
    ids=["gets a conflict", "succeeds after a rollback", "is a retry and gets the first"],
)
async def test_the_second_writer_of_a_name(
    postgres_notes: Notes,
    engine: AsyncEngine,
    id_: UUID,
    end: Literal["commit", "rollback"],
    kept: UUID,
) -> None:
    late = postgres_notes.add(id_, LAMP)
    second = await meet(engine, lambda notes: notes.add(ONE, LAMP), late, end)
    with nullcontext() if id_ == kept else pytest.raises(errors.ConflictError):
        assert await second == await postgres_notes.get(kept)
    assert [note.id for note in await postgres_notes.page(limit=2)] == [kept]


async def test_concurrent_updates_of_different_fields_are_both_kept(
    postgres_notes: Notes, engine: AsyncEngine
) -> None:
    await postgres_notes.add(ONE, LAMP)
    late = postgres_notes.update(ONE, {"attributes": {"a": 1}})
    after = await (await meet(engine, lambda notes: notes.update(ONE, {"quantity": 5}), late))
    assert (after.quantity, after.attributes) == (5, {"a": 1})
