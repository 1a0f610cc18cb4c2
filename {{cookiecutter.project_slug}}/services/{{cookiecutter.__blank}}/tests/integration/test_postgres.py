"""The repository on PostgreSQL, beyond its contract."""

import asyncio
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, async_sessionmaker

from stratakit.testing import eventually
from stratakit.testing.locks import terminate, waiting

from {{ cookiecutter.__package }} import domain, errors, models, ports
from {{ cookiecutter.__package }}.adapters.postgres import PostgresRepository, address, connect

New = domain.New{{ cookiecutter.__class }}
Row = models.{{ cookiecutter.__class }}Row
NOW = datetime.now(UTC)


def within(connection: AsyncConnection) -> PostgresRepository:
    """Return a repository whose transactions are savepoints of the connection's own."""
    sessions = async_sessionmaker(connection, join_transaction_mode="create_savepoint")
    return PostgresRepository(sessions)


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


async def test_what_is_added_is_committed(
    postgres_repository: ports.Repository,
    engine: AsyncEngine,
) -> None:
    await postgres_repository.add(uuid4(), New(name="lamp"))
    async with engine.connect() as connection:
        assert await connection.scalar(sa.select(Row.name)) == "lamp"


async def test_what_is_not_committed_is_not_seen_by_others(
    postgres_repository: ports.Repository,
    engine: AsyncEngine,
) -> None:
    async with engine.connect() as connection, connection.begin() as transaction:
        stored = await within(connection).add(uuid4(), New(name="lamp"))
        with pytest.raises(errors.NotFoundError):
            await postgres_repository.get(stored.id)
        await transaction.rollback()
    assert not await postgres_repository.page(limit=1)


async def test_a_failed_call_leaves_the_transaction_around_it_usable(engine: AsyncEngine) -> None:
    async with engine.connect() as connection, connection.begin() as transaction:
        repository = within(connection)
        await repository.add(uuid4(), New(name="lamp"))
        with pytest.raises(errors.ConflictError):
            await repository.add(uuid4(), New(name="lamp"))
        assert len(await repository.page(limit=5)) == 1
        await transaction.rollback()


async def test_a_writer_waits_for_the_one_before_it_and_loses_the_name(
    postgres_repository: ports.Repository,
    engine: AsyncEngine,
) -> None:
    async with engine.connect() as connection, connection.begin() as transaction:
        await within(connection).add(uuid4(), New(name="lamp"))
        second = asyncio.create_task(postgres_repository.add(uuid4(), New(name="lamp")))
        await eventually(lambda: waiting(engine))
        await transaction.commit()
    with pytest.raises(errors.ConflictError):
        await second


async def test_a_writer_gets_the_name_when_the_one_before_it_gives_up(
    postgres_repository: ports.Repository,
    engine: AsyncEngine,
) -> None:
    async with engine.connect() as connection, connection.begin() as transaction:
        await within(connection).add(uuid4(), New(name="lamp"))
        second = asyncio.create_task(postgres_repository.add(uuid4(), New(name="lamp")))
        await eventually(lambda: waiting(engine))
        await transaction.rollback()
    assert (await second).name == "lamp"


async def test_a_retry_waits_for_the_first_attempt_and_returns_what_that_created(
    postgres_repository: ports.Repository,
    engine: AsyncEngine,
) -> None:
    async with engine.connect() as connection, connection.begin() as transaction:
        first = await within(connection).add(UUID(int=7), New(name="lamp"))
        retry = asyncio.create_task(postgres_repository.add(UUID(int=7), New(name="lamp")))
        await eventually(lambda: waiting(engine))
        await transaction.commit()
    assert await retry == first


async def test_a_writer_changes_what_the_one_before_it_left(
    postgres_repository: ports.Repository,
    engine: AsyncEngine,
) -> None:
    stored = await postgres_repository.add(uuid4(), New(name="lamp"))
    async with engine.connect() as connection, connection.begin() as transaction:
        await within(connection).update(stored.id, quantity=5)
        second = asyncio.create_task(postgres_repository.update(stored.id, tags=("a",)))
        await eventually(lambda: waiting(engine))
        await transaction.commit()
    after = await second
    assert (after.quantity, after.tags) == (5, ("a",))


async def test_a_violated_check_is_an_invalid_value_of_its_field(
    postgres_repository: ports.Repository,
) -> None:
    with pytest.raises(errors.InvalidError) as caught:
        await postgres_repository.add(uuid4(), New(name="lamp", quantity=-1))
    assert caught.value.field == "quantity"


async def test_a_mistake_of_ours_is_no_error_of_the_client(
    postgres_repository: ports.Repository,
) -> None:
    with pytest.raises(sa.exc.DBAPIError):
        await postgres_repository.add(uuid4(), New(name="x" * (domain.NAME_LENGTH + 1)))


async def test_a_constraint_that_the_models_do_not_know_is_a_mistake_of_ours(
    engine: AsyncEngine,
) -> None:
    stray = f"ALTER TABLE {Row.__tablename__} ADD CONSTRAINT stray CHECK (quantity < 1)"
    async with engine.connect() as connection, connection.begin() as transaction:
        await connection.execute(sa.text(stray))
        with pytest.raises(sa.exc.IntegrityError):
            await within(connection).add(uuid4(), New(name="lamp", quantity=1))
        await transaction.rollback()


async def test_a_call_that_the_server_cuts_off_may_succeed_later(
    postgres_repository: ports.Repository,
    engine: AsyncEngine,
) -> None:
    async with engine.connect() as connection, connection.begin() as transaction:
        await within(connection).add(uuid4(), New(name="lamp"))
        second = asyncio.create_task(postgres_repository.add(uuid4(), New(name="lamp")))
        await connection.execute(terminate(await eventually(lambda: waiting(engine))))
        with pytest.raises(errors.UnavailableError):
            await second
        await transaction.rollback()
    assert (await postgres_repository.add(uuid4(), New(name="lamp"))).name == "lamp"


async def test_a_connection_that_the_server_closed_costs_no_call(
    engine: AsyncEngine,
) -> None:
    own = connect(engine.url, pool_size=1, timeout=5)
    async with own.connect() as connection:
        driver = (await connection.get_raw_connection()).driver_connection
    assert driver
    async with engine.connect() as connection:
        await connection.execute(terminate(driver.get_server_pid()))
    # Until then it is dying, and nobody has been told.
    await eventually(driver.is_closed)
    await PostgresRepository(async_sessionmaker(own)).ping()
    await own.dispose()


@pytest.mark.parametrize(
    ("condition", "index"),
    [
        (sa.tuple_(Row.created_at, Row.id) < (NOW, UUID(int=0)), "created_at_id"),
        (sa.func.lower(Row.name).startswith("lamp", autoescape=True), "search"),
        (Row.tags.contains(["light"]), "tags"),
    ],
)
async def test_each_way_to_find_them_has_its_index(
    engine: AsyncEngine,
    condition: sa.ColumnElement[bool],
    index: str,
) -> None:
    query = sa.select(Row.id).where(condition)
    dialect = engine.dialect
    text = str(query.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))
    async with engine.connect() as connection:
        # A table of a few rows is read as a whole, unless that is forbidden.
        await connection.execute(sa.text("SET LOCAL enable_seqscan = off"))
        plan = await connection.scalars(sa.text(f"EXPLAIN {text}"))
        assert f"ix_{Row.__tablename__}_{index}" in "\n".join(plan)
