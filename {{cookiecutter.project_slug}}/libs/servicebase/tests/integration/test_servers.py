"""PostgreSQL and Redis: connections, faults of servers, and translation of their errors."""

import asyncio
import socket
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from fastapi import FastAPI
from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, async_sessionmaker

from servicebase import errors, postgres, redis, testing
from servicebase.connections import Connections
from servicebase.idempotency import Claim
from servicebase.settings import ServiceSettings
from stratakit.testing import eventually
from stratakit.testing.locks import terminate, waiting

from ..models import Base, NoteRow, PostgresNotes

TIMEOUT = 0.02
NOTE, OTHER = UUID(int=7), UUID(int=8)
CLAIM = Claim(NOTE, "print")
Conflict = errors.ConflictError


def connect(url: str | sa.URL, timeout: float = 5) -> AsyncEngine:
    return postgres.connect(url, name="own", pool_size=1, timeout=timeout)


async def ping(engine: AsyncEngine) -> None:
    """Check that the server answers, as an adapter does."""
    await PostgresNotes(async_sessionmaker(engine)).ping()


def store(client: Redis, ttl: int = 60) -> redis.RedisIdempotency:
    return redis.RedisIdempotency(client, prefix="kit:", ttl=ttl)


async def test_a_connection_has_the_name_in_its_url_or_ours(engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        assert await connection.scalar(sa.text("SHOW application_name")) == testing.NAME
    named = engine.url.update_query_dict({"application_name": "theirs", "connect_timeout": "0"})
    own = connect(named)
    async with own.connect() as connection:
        assert await connection.scalar(sa.text("SHOW application_name")) == "theirs"
    await own.dispose()


async def test_no_call_fails_after_postgres_closed_a_connection(engine: AsyncEngine) -> None:
    own = connect(engine.url)
    async with own.connect() as connection:
        driver = (await connection.get_raw_connection()).driver_connection
    assert driver
    async with engine.connect() as connection:
        await connection.execute(terminate(driver.get_server_pid()))
    # The backend takes a moment to end.
    await eventually(driver.is_closed)
    await ping(own)
    await own.dispose()


async def test_no_call_fails_after_redis_closed_a_connection(
    redis_client: Redis, redis_url: str
) -> None:
    async with redis.connect(redis_url, timeout=5) as own:
        await redis_client.client_kill_filter(_id=str(await own.client_id()))
        await store(own).ping()


async def test_an_application_that_ends_closes_its_connections(
    postgres_url: str, redis_client: Redis, redis_url: str
) -> None:
    own = Connections(ServiceSettings(database_url=postgres_url, redis_url=redis_url), "own")
    async with own.lifespan(FastAPI()):
        async with own.engine.connect() as connection:
            driver: Any = (await connection.get_raw_connection()).driver_connection
        client = await own.redis.client_id()
    assert driver.is_closed()

    async def gone() -> bool:
        return not await redis_client.client_list(client_id=[client])

    await eventually(gone)


@pytest.mark.parametrize("refuses", [True, False])
async def test_a_server_that_refuses_or_is_silent_is_unavailable_in_time(refuses: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        place = f"127.0.0.1:{server.getsockname()[1]}"
        if refuses:
            server.close()
        engine = connect(f"postgresql://user@{place}/name", TIMEOUT)
        client = redis.connect(f"redis://{place}", timeout=TIMEOUT)
        keys = store(client)
        calls = [
            ("postgres", ping(engine)),
            ("redis", keys.ping()),
            ("redis", keys.claim("key", CLAIM)),
        ]
        for name, call in calls:
            with pytest.raises(errors.UnavailableError, match=f"{name} is not available"):
                await asyncio.wait_for(call, 2)
    await client.aclose()
    await engine.dispose()


async def test_a_call_without_a_free_connection_times_out(postgres_url: str) -> None:
    engine = connect(postgres_url, TIMEOUT)
    # A busy server may need more than one try to answer in so little time.
    taken = await eventually(lambda: engine.connect().start())
    with pytest.raises(errors.UnavailableError) as caught:
        await ping(engine)
    # The pool's, not the server's.
    assert isinstance(caught.value.__cause__, sa.exc.TimeoutError)
    await taken.close()
    await engine.dispose()


async def test_a_key_in_redis_has_the_prefix_and_the_first_ttl(redis_client: Redis) -> None:
    for ttl in (60, 6000):
        await store(redis_client, ttl).claim("key", CLAIM)
    assert await redis_client.keys("*key*") == ["kit:key"]
    assert 0 < await redis_client.ttl("kit:key") <= 60


async def insert(engine: AsyncEngine, **values: Any) -> None:
    """Insert a note, as an adapter does."""
    with postgres.translated(Base.metadata):
        async with engine.begin() as connection:
            await connection.execute(sa.insert(NoteRow).values(values))


@pytest.mark.parametrize(
    ("given", "used", "seconds"),
    [
        ("postgres://u:p@h/d", "u:p@h/d", 5),
        ("postgresql://u:p@h:1/d", "u:p@h:1/d", 5),
        ("postgresql+psycopg://h/d", "h/d", 5),
        ("postgresql+asyncpg://h/d", "h/d", 5),
        ("postgres://h?sslmode=require&channel_binding=prefer", "h?ssl=require", 5),
        ("postgresql:///d?host=/run/pg", "/d?host=%2Frun%2Fpg", 5),
        ("postgres://h?connect_timeout=3", "h", 3),
        *((f"postgres://h?connect_timeout={longer}", "h", 5) for longer in (9, 0, -1)),
    ],
)
def test_a_url_is_converted_for_asyncpg_and_may_shorten_the_timeout(
    given: str, used: str, seconds: float
) -> None:
    url = postgres.address(given).render_as_string(hide_password=False)
    assert url == f"postgresql+asyncpg://{used}"
    assert postgres.arguments(given, name="own", timeout=5)["timeout"] == seconds


VIOLATIONS: dict[str, tuple[dict[str, Any], errors.ServiceError | None]] = {
    "unique": ({"name": "a"}, Conflict("name")),
    "primary key": ({"name": "c", "id": NOTE}, Conflict("id")),
    "unique index": ({"name": "c", "parent_id": NOTE, "quantity": 1}, Conflict("tags")),
    "unique of several": ({"name": "c", "parent_id": NOTE, "tags": ("t",)}, Conflict("quantity")),
    "check": ({"name": "c", "quantity": -1}, errors.InvalidError("quantity", "breaks a rule")),
    "foreign key": ({"name": "c", "parent_id": OTHER}, errors.InvalidReferenceError("parent_id")),
    # Our own mistakes, not errors of the client.
    "a text that is too long": ({"name": "x" * 10}, None),
    "a check without a field": ({"name": "c", "quantity": 99}, None),
    "a null": ({"name": None}, None),
    "an unknown constraint": ({"name": "stray"}, None),
}


@pytest.mark.usefixtures("tables")
@pytest.mark.parametrize(("values", "expected"), VIOLATIONS.values(), ids=VIOLATIONS)
async def test_a_violated_constraint_names_its_field_if_clients_may_see_it(
    engine: AsyncEngine, values: dict[str, Any], expected: errors.ServiceError | None
) -> None:
    async with engine.begin() as connection:
        stray = "ALTER TABLE notes ADD CONSTRAINT stray CHECK (name <> 'stray')"
        await connection.execute(sa.text(stray))
    await insert(engine, name="a", id=NOTE)
    await insert(engine, name="b", parent_id=NOTE)
    with pytest.raises(type(expected) if expected else sa.exc.DBAPIError) as caught:
        await insert(engine, **values)
    assert expected is None or str(caught.value) == str(expected)


async def test_a_conflict_in_a_partition_names_its_column(rollback: AsyncConnection) -> None:
    metadata = sa.MetaData()
    id_ = sa.Column("id", sa.Integer, primary_key=True)
    day = sa.Column("day", sa.Date, primary_key=True)
    days = sa.Table("days", metadata, id_, day, postgresql_partition_by="LIST (day)")
    await rollback.run_sync(metadata.create_all)
    await rollback.execute(sa.text("CREATE TABLE days_rest PARTITION OF days DEFAULT"))
    twice = sa.insert(days).values([{"id": 1, "day": sa.func.current_date()}] * 2)
    with pytest.raises(errors.ConflictError) as caught, postgres.translated(metadata):
        await rollback.execute(twice)
    assert caught.value.field == "day"


@pytest.mark.usefixtures("tables")
async def test_a_call_interrupted_by_the_server_can_be_retried(engine: AsyncEngine) -> None:
    async with engine.connect() as connection, connection.begin() as transaction:
        await connection.execute(sa.insert(NoteRow).values(name="lamp"))
        second = asyncio.create_task(insert(engine, name="lamp"))
        await connection.execute(terminate(await eventually(lambda: waiting(engine))))
        with pytest.raises(errors.UnavailableError):
            await second
        await transaction.rollback()
    await insert(engine, name="lamp")
