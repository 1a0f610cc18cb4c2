"""The repository on PostgreSQL, beyond its contract: transactions, and writers at once."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Literal
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, async_sessionmaker

from servicebase import errors
from stratakit.testing import eventually
from stratakit.testing.locks import waiting

from ..models import NoteRow, PostgresNotes
from ..notes import NewNote, Note, Notes

LAMP = NewNote(name="lamp")


def within(connection: AsyncConnection) -> PostgresNotes:
    """Return a repository whose transactions are savepoints of the connection's own."""
    sessions = async_sessionmaker(connection, join_transaction_mode="create_savepoint")
    return PostgresNotes(sessions)


async def meet(
    engine: AsyncEngine,
    first: Callable[[Notes], Awaitable[Note]],
    second: Coroutine[Any, Any, Note],
    end: Literal["commit", "rollback"] = "commit",
) -> tuple[Note, asyncio.Task[Note]]:
    """Return what comes of two writers, of which the second waits until the first one's end."""
    async with engine.connect() as connection, connection.begin() as transaction:
        written = await first(within(connection))
        task = asyncio.create_task(second)
        await eventually(lambda: waiting(engine))
        await getattr(transaction, end)()
    return written, task


async def test_what_is_added_is_seen_by_others_once_it_is_committed(
    postgres_notes: Notes, engine: AsyncEngine
) -> None:
    async with engine.connect() as connection, connection.begin() as transaction:
        note = await within(connection).add(uuid4(), LAMP)
        with pytest.raises(errors.NotFoundError):
            await postgres_notes.get(note.id)
        await transaction.rollback()
    assert not await postgres_notes.page(limit=1)
    await postgres_notes.add(uuid4(), LAMP)
    async with engine.connect() as connection:
        assert await connection.scalar(sa.select(NoteRow.name)) == "lamp"


@pytest.mark.usefixtures("tables")
async def test_a_failed_call_leaves_the_transaction_around_it_usable(engine: AsyncEngine) -> None:
    async with engine.connect() as connection, connection.begin() as transaction:
        repository = within(connection)
        await repository.add(uuid4(), LAMP)
        with pytest.raises(errors.ConflictError):
            await repository.add(uuid4(), LAMP)
        assert len(await repository.page(limit=5)) == 1
        await transaction.rollback()


async def test_a_writer_loses_the_name_to_the_one_before_it(
    postgres_notes: Notes, engine: AsyncEngine
) -> None:
    late = postgres_notes.add(uuid4(), LAMP)
    _, second = await meet(engine, lambda notes: notes.add(uuid4(), LAMP), late)
    with pytest.raises(errors.ConflictError):
        await second


async def test_a_writer_gets_the_name_when_the_one_before_it_gives_up(
    postgres_notes: Notes, engine: AsyncEngine
) -> None:
    late = postgres_notes.add(uuid4(), LAMP)
    _, second = await meet(engine, lambda notes: notes.add(uuid4(), LAMP), late, "rollback")
    assert (await second).name == "lamp"


async def test_a_retry_returns_what_the_first_attempt_created(
    postgres_notes: Notes, engine: AsyncEngine
) -> None:
    late = postgres_notes.add(UUID(int=7), LAMP)
    first, retry = await meet(engine, lambda notes: notes.add(UUID(int=7), LAMP), late)
    assert await retry == first


async def test_a_writer_changes_what_the_one_before_it_left(
    postgres_notes: Notes, engine: AsyncEngine
) -> None:
    note = await postgres_notes.add(uuid4(), LAMP)
    late = postgres_notes.update(note.id, {"attributes": {"a": 1}})
    _, second = await meet(engine, lambda notes: notes.update(note.id, {"quantity": 5}), late)
    after = await second
    assert (after.quantity, after.attributes) == (5, {"a": 1})
