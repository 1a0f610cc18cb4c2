"""The repository on PostgreSQL, beyond its contract: transactions, and writers at once."""

import asyncio
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, async_sessionmaker

from servicebase import errors
from servicebase.postgres import connect
from stratakit.testing import eventually
from stratakit.testing.locks import waiting

from ..models import NoteRow, PostgresNotes
from ..notes import NewNote, Notes

LAMP = NewNote(name="lamp")


def within(connection: AsyncConnection) -> PostgresNotes:
    """Return a repository whose transactions are savepoints of the connection's own."""
    sessions = async_sessionmaker(connection, join_transaction_mode="create_savepoint")
    return PostgresNotes(sessions)


async def test_what_is_added_is_committed(postgres_notes: Notes, engine: AsyncEngine) -> None:
    await postgres_notes.add(uuid4(), LAMP)
    async with engine.connect() as connection:
        assert await connection.scalar(sa.select(NoteRow.name)) == "lamp"


async def test_what_is_not_committed_is_not_seen_by_others(
    postgres_notes: Notes, engine: AsyncEngine
) -> None:
    async with engine.connect() as connection, connection.begin() as transaction:
        note = await within(connection).add(uuid4(), LAMP)
        with pytest.raises(errors.NotFoundError):
            await postgres_notes.get(note.id)
        await transaction.rollback()
    assert not await postgres_notes.page(limit=1)


@pytest.mark.usefixtures("tables")
async def test_a_failed_call_leaves_the_transaction_around_it_usable(engine: AsyncEngine) -> None:
    async with engine.connect() as connection, connection.begin() as transaction:
        repository = within(connection)
        await repository.add(uuid4(), LAMP)
        with pytest.raises(errors.ConflictError):
            await repository.add(uuid4(), LAMP)
        assert len(await repository.page(limit=5)) == 1
        await transaction.rollback()


async def test_a_writer_waits_for_the_one_before_it_and_loses_the_name(
    postgres_notes: Notes, engine: AsyncEngine
) -> None:
    async with engine.connect() as connection, connection.begin() as transaction:
        await within(connection).add(uuid4(), LAMP)
        second = asyncio.create_task(postgres_notes.add(uuid4(), LAMP))
        await eventually(lambda: waiting(engine))
        await transaction.commit()
    with pytest.raises(errors.ConflictError):
        await second


async def test_a_writer_gets_the_name_when_the_one_before_it_gives_up(
    postgres_notes: Notes, engine: AsyncEngine
) -> None:
    async with engine.connect() as connection, connection.begin() as transaction:
        await within(connection).add(uuid4(), LAMP)
        second = asyncio.create_task(postgres_notes.add(uuid4(), LAMP))
        await eventually(lambda: waiting(engine))
        await transaction.rollback()
    assert (await second).name == "lamp"


async def test_a_retry_waits_for_the_first_attempt_and_returns_what_that_created(
    postgres_notes: Notes, engine: AsyncEngine
) -> None:
    async with engine.connect() as connection, connection.begin() as transaction:
        first = await within(connection).add(UUID(int=7), LAMP)
        retry = asyncio.create_task(postgres_notes.add(UUID(int=7), LAMP))
        await eventually(lambda: waiting(engine))
        await transaction.commit()
    assert await retry == first


async def test_a_writer_changes_what_the_one_before_it_left(
    postgres_notes: Notes, engine: AsyncEngine
) -> None:
    note = await postgres_notes.add(uuid4(), LAMP)
    async with engine.connect() as connection, connection.begin() as transaction:
        await within(connection).update(note.id, {"quantity": 5})
        second = asyncio.create_task(postgres_notes.update(note.id, {"attributes": {"a": 1}}))
        await eventually(lambda: waiting(engine))
        await transaction.commit()
    after = await second
    assert (after.quantity, after.attributes) == (5, {"a": 1})


async def test_a_server_that_is_away_is_unavailable() -> None:
    # Port 1 is nobody's.
    away = connect("postgresql://127.0.0.1:1/name", name="own", pool_size=1, timeout=5)
    with pytest.raises(errors.UnavailableError, match="postgres is not available"):
        await PostgresNotes(async_sessionmaker(away)).get(UUID(int=7))
    await away.dispose()
