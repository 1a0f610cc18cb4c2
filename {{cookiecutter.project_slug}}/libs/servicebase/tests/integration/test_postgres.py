"""Connections to PostgreSQL, and what its errors mean."""

import asyncio
import socket
import time
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from servicebase import errors, testing
from servicebase.postgres import address, connect, translated
from stratakit.testing import eventually
from stratakit.testing.locks import terminate, waiting

from ..models import Base, Book, Shelf

TIMEOUT = 0.02
PATIENCE = 2.0
SHELF = UUID(int=7)


async def insert(engine: AsyncEngine, row: type[Base], **values: Any) -> None:
    """Insert one, as an adapter does."""
    with translated(Base.metadata):
        async with engine.begin() as connection:
            await connection.execute(sa.insert(row).values(values))


async def ping(engine: AsyncEngine) -> bool:
    """Return if the server answers, as an adapter does."""
    with translated(Base.metadata):
        async with engine.begin() as connection:
            await connection.execute(sa.text("SELECT 1"))
    return True


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("postgres://u:p@h/d", "postgresql+asyncpg://u:p@h/d"),
        ("postgresql://u:p@h:1/d", "postgresql+asyncpg://u:p@h:1/d"),
        ("postgresql+psycopg://h/d", "postgresql+asyncpg://h/d"),
        ("postgresql+asyncpg://h/d", "postgresql+asyncpg://h/d"),
        ("postgresql://h/d?sslmode=require", "postgresql+asyncpg://h/d?ssl=require"),
        ("postgresql:///d?host=/run/pg", "postgresql+asyncpg:///d?host=%2Frun%2Fpg"),
    ],
)
def test_a_url_is_made_one_for_asyncpg(given: str, used: str) -> None:
    assert address(given).render_as_string(hide_password=False) == used


async def test_a_connection_says_whose_it_is(engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        assert await connection.scalar(sa.text("SHOW application_name")) == testing.NAME


@pytest.mark.usefixtures("tables")
@pytest.mark.parametrize(
    ("row", "values", "kind", "field"),
    [
        (Shelf, {"name": "a"}, errors.ConflictError, "name"),
        (Shelf, {"id": SHELF, "name": "b"}, errors.ConflictError, "id"),
        (Shelf, {"name": "b"}, errors.ConflictError, "tags"),
        (Shelf, {"name": "b", "colour": "grey"}, errors.InvalidError, "colour"),
        (Book, {"shelf_id": SHELF, "name": "a"}, errors.ConflictError, "name"),
        (Book, {"shelf_id": UUID(int=8), "name": "a"}, errors.InvalidReferenceError, "shelf_id"),
    ],
    ids=["unique", "primary key", "unique index", "check", "unique of several", "foreign key"],
)
async def test_a_violated_constraint_is_an_error_that_names_the_field(
    engine: AsyncEngine,
    row: type[Base],
    values: dict[str, Any],
    kind: type[errors.ConflictError],
    field: str,
) -> None:
    await insert(engine, Shelf, id=SHELF, name="a")
    await insert(engine, Book, shelf_id=SHELF, name="a")
    with pytest.raises(kind) as caught:
        await insert(engine, row, **values)
    assert caught.value.field == field


@pytest.mark.usefixtures("tables")
@pytest.mark.parametrize(
    "values",
    [{"name": "x" * 10}, {"name": "b", "colour": "none"}, {"name": None}],
    ids=["a text that is too long", "a check without a field", "a null"],
)
async def test_a_mistake_of_ours_is_no_error_of_the_client(
    engine: AsyncEngine, values: dict[str, Any]
) -> None:
    with pytest.raises(sa.exc.DBAPIError):
        await insert(engine, Shelf, **values)


@pytest.mark.usefixtures("tables")
async def test_a_constraint_that_the_models_do_not_know_is_a_mistake_of_ours(
    engine: AsyncEngine,
) -> None:
    stray = sa.text("ALTER TABLE shelves ADD CONSTRAINT stray CHECK (name <> 'lamp')")
    async with engine.begin() as connection:
        await connection.execute(stray)
    with pytest.raises(sa.exc.IntegrityError):
        await insert(engine, Shelf, name="lamp")


@pytest.mark.usefixtures("tables")
async def test_a_call_that_the_server_cuts_off_may_succeed_later(engine: AsyncEngine) -> None:
    async with engine.connect() as connection, connection.begin() as transaction:
        await connection.execute(sa.insert(Shelf).values(name="lamp"))
        second = asyncio.create_task(insert(engine, Shelf, name="lamp"))
        await connection.execute(terminate(await eventually(lambda: waiting(engine))))
        with pytest.raises(errors.UnavailableError):
            await second
        await transaction.rollback()
    await insert(engine, Shelf, name="lamp")


@pytest.mark.usefixtures("tables")
async def test_an_update_moves_updated_at_and_nothing_else_of_what_is_stored(
    engine: AsyncEngine,
) -> None:
    await insert(engine, Shelf, name="lamp")
    async with engine.begin() as connection:
        before = (await connection.execute(sa.select(Shelf))).one()
    async with engine.begin() as connection:
        await connection.execute(sa.update(Shelf).values(colour="blue"))
        after = (await connection.execute(sa.select(Shelf))).one()
    assert before.created_at == before.updated_at == after.created_at < after.updated_at
    assert before.created_at.tzinfo is not None
    assert before.id == after.id


async def test_a_connection_that_the_server_closed_costs_no_call(engine: AsyncEngine) -> None:
    own = connect(engine.url, name="own", pool_size=1, timeout=5)
    async with own.connect() as connection:
        driver = (await connection.get_raw_connection()).driver_connection
    assert driver
    async with engine.connect() as connection:
        await connection.execute(terminate(driver.get_server_pid()))
    # Until then it is dying, and nobody has been told.
    await eventually(driver.is_closed)
    assert await ping(own)
    await own.dispose()


@pytest.fixture(params=["refuses", "is silent"])
def port(request: pytest.FixtureRequest) -> Iterator[int]:
    """A port of a server that is at fault, in each way."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        if request.param == "refuses":
            server.close()
        yield port


async def test_a_server_that_is_at_fault_is_unavailable_and_that_is_said_in_time(
    port: int,
) -> None:
    url = f"postgresql://user:password@127.0.0.1:{port}/name"  # pragma: allowlist secret
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
