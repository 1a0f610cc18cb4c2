"""Connections to PostgreSQL, and what its errors mean."""

import asyncio
import time
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, async_sessionmaker

from servicebase import errors, testing
from servicebase.postgres import address, connect, translated
from stratakit.testing import eventually
from stratakit.testing.locks import terminate, waiting

from ..models import Base, NoteRow, PostgresNotes

TIMEOUT = 0.02
PATIENCE = 2.0
NOTE = UUID(int=7)


async def insert(engine: AsyncEngine, **values: Any) -> None:
    """Insert a note, as an adapter does."""
    with translated(Base.metadata):
        async with engine.begin() as connection:
            await connection.execute(sa.insert(NoteRow).values(values))


async def ping(engine: AsyncEngine) -> None:
    """Return if the server answers, as an adapter does."""
    await PostgresNotes(async_sessionmaker(engine)).ping()


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("postgres://u:p@h/d", "postgresql+asyncpg://u:p@h/d"),
        ("postgresql://u:p@h:1/d", "postgresql+asyncpg://u:p@h:1/d"),
        ("postgresql+psycopg://h/d", "postgresql+asyncpg://h/d"),
        ("postgresql+asyncpg://h/d", "postgresql+asyncpg://h/d"),
        (
            "postgresql://h/d?sslmode=require&channel_binding=prefer&connect_timeout=3",
            "postgresql+asyncpg://h/d?ssl=require",
        ),
        ("postgresql:///d?host=/run/pg", "postgresql+asyncpg:///d?host=%2Frun%2Fpg"),
    ],
)
def test_a_url_is_made_one_for_asyncpg(given: str, used: str) -> None:
    assert address(given).render_as_string(hide_password=False) == used


async def test_a_connection_says_whose_it_is_as_the_url_does_first(engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        assert await connection.scalar(sa.text("SHOW application_name")) == testing.NAME
    named = engine.url.update_query_dict({"application_name": "theirs", "connect_timeout": "0"})
    own = connect(named, name="own", pool_size=1, timeout=5)
    async with own.connect() as connection:
        assert await connection.scalar(sa.text("SHOW application_name")) == "theirs"
    await own.dispose()


@pytest.mark.usefixtures("tables")
@pytest.mark.parametrize(
    ("values", "kind", "field"),
    [
        ({"name": "a"}, errors.ConflictError, "name"),
        ({"name": "c", "id": NOTE}, errors.ConflictError, "id"),
        ({"name": "c", "parent_id": NOTE, "quantity": 1}, errors.ConflictError, "tags"),
        ({"name": "c", "parent_id": NOTE, "tags": ["t"]}, errors.ConflictError, "quantity"),
        ({"name": "c", "quantity": -1}, errors.InvalidError, "quantity"),
        ({"name": "c", "parent_id": UUID(int=8)}, errors.InvalidReferenceError, "parent_id"),
    ],
    ids=["unique", "primary key", "unique index", "unique of several", "check", "foreign key"],
)
async def test_a_violated_constraint_is_an_error_that_names_the_field(
    engine: AsyncEngine, values: dict[str, Any], kind: type[errors.ConflictError], field: str
) -> None:
    await insert(engine, name="a", id=NOTE)
    await insert(engine, name="b", parent_id=NOTE)
    with pytest.raises(kind) as caught:
        await insert(engine, **values)
    assert caught.value.field == field


async def test_the_key_of_a_partition_is_that_of_its_table(rollback: AsyncConnection) -> None:
    metadata = sa.MetaData()
    key = (
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("day", sa.Date, primary_key=True),
    )
    days = sa.Table("days", metadata, *key, postgresql_partition_by="LIST (day)")
    await rollback.run_sync(metadata.create_all)
    await rollback.execute(sa.text("CREATE TABLE days_rest PARTITION OF days DEFAULT"))
    twice = sa.insert(days).values([{"id": 1, "day": sa.func.current_date()}] * 2)
    with pytest.raises(errors.ConflictError) as caught, translated(metadata):
        await rollback.execute(twice)
    assert caught.value.field == "day"


@pytest.mark.usefixtures("tables")
@pytest.mark.parametrize(
    "values",
    [{"name": "x" * 10}, {"name": "b", "quantity": 99}, {"name": None}, {"name": "stray"}],
    ids=["a text that is too long", "a check without a field", "a null", "an unknown constraint"],
)
async def test_a_mistake_of_ours_is_no_error_of_the_client(
    engine: AsyncEngine, values: dict[str, Any]
) -> None:
    async with engine.begin() as connection:
        stray = "ALTER TABLE notes ADD CONSTRAINT stray CHECK (name <> 'stray')"
        await connection.execute(sa.text(stray))
    with pytest.raises(sa.exc.DBAPIError):
        await insert(engine, **values)


@pytest.mark.usefixtures("tables")
async def test_a_call_that_the_server_cuts_off_may_succeed_later(engine: AsyncEngine) -> None:
    async with engine.connect() as connection, connection.begin() as transaction:
        await connection.execute(sa.insert(NoteRow).values(name="lamp"))
        second = asyncio.create_task(insert(engine, name="lamp"))
        await connection.execute(terminate(await eventually(lambda: waiting(engine))))
        with pytest.raises(errors.UnavailableError):
            await second
        await transaction.rollback()
    await insert(engine, name="lamp")


async def test_a_connection_that_the_server_closed_costs_no_call(engine: AsyncEngine) -> None:
    own = connect(engine.url, name="own", pool_size=1, timeout=5)
    async with own.connect() as connection:
        driver = (await connection.get_raw_connection()).driver_connection
    assert driver
    async with engine.connect() as connection:
        await connection.execute(terminate(driver.get_server_pid()))
    # Until then it is dying, and nobody has been told.
    await eventually(driver.is_closed)
    await ping(own)
    await own.dispose()


async def test_a_server_that_is_at_fault_is_unavailable_and_that_is_said_in_time(
    faulty_port: int,
) -> None:
    url = f"postgresql://user:password@127.0.0.1:{faulty_port}/name"  # pragma: allowlist secret
    engine = connect(url, name="own", pool_size=1, timeout=TIMEOUT)
    start = time.monotonic()
    with pytest.raises(errors.UnavailableError, match="postgres is not available"):
        await ping(engine)
    assert time.monotonic() - start < PATIENCE
    await engine.dispose()


async def test_a_call_that_finds_no_free_connection_gives_up_in_time(postgres_url: str) -> None:
    engine = connect(postgres_url, name="own", pool_size=1, timeout=TIMEOUT)
    # A busy server may need more than one try to answer in so little time.
    taken = await eventually(lambda: engine.connect().start())
    with pytest.raises(errors.UnavailableError) as caught:
        await ping(engine)
    # Of the pool, not of the server.
    assert isinstance(caught.value.__cause__, sa.exc.TimeoutError)
    await taken.close()
    await engine.dispose()
