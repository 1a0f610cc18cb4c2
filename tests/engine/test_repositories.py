"""Helpers for tests of repositories: concurrent transactions, NOTIFY, a frozen clock."""

import asyncio
import datetime as dt
import sys
from collections.abc import Awaitable, Callable

import pytest
import sqlalchemy as sa
from stratakit.testing import eventually, listening, stop_clock
from stratakit.testing.locks import blocked, waiting
from sqlalchemy import exc
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

NOON = dt.datetime(2030, 1, 1, 12, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)

Connect = Callable[..., Awaitable[AsyncConnection]]


async def test_blocked_returns_sessions_only_when_enough_of_them_wait_for_a_lock(
    connect: Connect, postgres_engine: AsyncEngine
) -> None:
    lock = sa.text("SELECT pg_advisory_xact_lock(7)")
    first, *others = [await connect() for _ in range(3)]
    await first.execute(lock)
    assert await blocked(postgres_engine) == []
    tasks = [asyncio.create_task(taken(others[0], lock))]
    assert await eventually(lambda: waiting(postgres_engine))
    assert await blocked(postgres_engine, 2) == []
    tasks.append(asyncio.create_task(taken(others[1], lock)))
    assert len(await eventually(lambda: blocked(postgres_engine, 2))) == 2
    await first.rollback()
    await asyncio.gather(*tasks)


async def taken(connection: AsyncConnection, lock: sa.TextClause) -> None:
    """Take a lock, and release it."""
    await connection.execute(lock)
    await connection.rollback()


async def test_a_connection_has_the_requested_isolation_level(connect: Connect) -> None:
    one, other, plain = (
        await connect("SERIALIZABLE"),
        await connect("REPEATABLE READ"),
        await connect(),
    )
    show = sa.text("SHOW transaction_isolation")
    levels = [await each.scalar(show) for each in (one, other, plain)]
    assert levels == ["serializable", "repeatable read", "read committed"]


async def test_concurrent_serializable_transactions_fail_to_serialize_at_commit(
    clone_url: str,
) -> None:
    engine = create_async_engine(clone_url)
    async with engine.begin() as connection:
        await connection.execute(sa.text("CREATE TABLE accounts AS SELECT 1 AS id, 5 AS amount"))
    async with engine.connect() as one, engine.connect() as other:
        for each in (one, other):
            await each.execution_options(isolation_level="SERIALIZABLE")
            await each.execute(sa.text("SELECT sum(amount) FROM accounts"))
            await each.execute(sa.text("INSERT INTO accounts VALUES (2, 1)"))
        await one.commit()
        with pytest.raises(exc.DBAPIError, match="could not serialize"):
            await other.commit()
    await engine.dispose()


async def test_notifications_are_heard_when_their_transaction_commits(
    connect: Connect, postgres_engine: AsyncEngine
) -> None:
    async with listening(postgres_engine, "orders") as heard:
        one = await connect()
        for payload in ("1", "2"):
            await one.execute(sa.text(f"NOTIFY orders, '{payload}'"))
        await one.execute(sa.text("NOTIFY others, '3'"))
        assert heard == []
        await one.commit()
        await eventually(lambda: heard == ["1", "2"])
    async with postgres_engine.connect() as connection:
        assert await connection.scalar(sa.text("SELECT count(*) FROM pg_listening_channels()")) == 0


COLUMNS = """
    id int, at timestamptz DEFAULT now(), day date DEFAULT CURRENT_TIMESTAMP,
    later timestamptz DEFAULT now() + interval '1 hour', changed_at timestamptz
"""
STAMP = "$$ BEGIN NEW.changed_at = clock_timestamp(); RETURN NEW; END $$"
STAMPED = (
    f"CREATE TABLE stamped ({COLUMNS})",
    f"CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS {STAMP}",
    "CREATE TRIGGER stamp BEFORE UPDATE ON stamped FOR EACH ROW EXECUTE FUNCTION stamp()",
)


async def test_the_stopped_clock_of_a_database_stands_still_until_it_is_set(clone_url: str) -> None:
    engine = create_async_engine(clone_url)
    async with engine.begin() as connection:
        for statement in STAMPED:
            await connection.exec_driver_sql(statement)
    clock = await stop_clock(engine, NOON)
    now = sa.select(sa.func.now(), sa.func.current_schema())
    async with engine.begin() as connection:
        assert (await connection.execute(now)).one() == (NOON, "public")
        await connection.exec_driver_sql("INSERT INTO stamped (id) VALUES (1)")
    await clock.set(NOON + HOUR)
    async with engine.begin() as connection:
        assert await connection.scalar(now) == NOON + HOUR
        await connection.exec_driver_sql("UPDATE stamped SET id = 2")
        row = (await connection.exec_driver_sql("TABLE stamped")).one()
        real = await connection.scalar(sa.select(sa.func.current_timestamp()))
    assert row == (2, NOON, NOON.date(), NOON + HOUR, NOON + HOUR)
    assert real is not None
    assert real != NOON + HOUR
    await engine.dispose()


MODULE_WITH_ROWS = """
import pytest
import sqlalchemy as sa
from gateway.models import ItemRow

@pytest.fixture(scope="module", autouse=True)
async def kept(module_build):
    await module_build(ItemRow)
    return await module_build.many(ItemRow, 4)

@pytest.mark.parametrize("turn", range(3))
async def test_they_are_there_in_each_test(turn, build, kept, postgres_engine):
    async with postgres_engine.begin() as connection:
        names = set(await connection.scalars(sa.select(ItemRow.name)))
        assert {each.name for each in kept} < names
        assert len(names) == 5
        await connection.execute(sa.delete(ItemRow))
    await build(ItemRow)
"""
NEXT_MODULE = """
import sqlalchemy as sa
from gateway.models import ItemRow

async def test_they_are_gone(postgres_engine):
    async with postgres_engine.connect() as connection:
        assert await connection.scalar(sa.select(sa.func.count()).select_from(ItemRow)) == 0
"""


async def test_module_rows_exist_in_each_test_of_the_module_and_are_gone_afterwards(
    pytestconfig: pytest.Config,
) -> None:
    folder = pytestconfig.rootpath / "services" / "gateway" / "tests" / "integration"
    planted = {
        folder / "test_kept_1_planted.py": MODULE_WITH_ROWS,
        folder / "test_kept_2_planted.py": NEXT_MODULE,
    }
    for file, text in planted.items():
        file.write_text(text, encoding="utf-8")
    try:
        words = ("-m", "pytest", "-p", "no:cacheprovider", "-p", "no:randomly")
        run = await asyncio.create_subprocess_exec(
            *(sys.executable, *words, *map(str, planted)),
            stdout=asyncio.subprocess.PIPE,
            cwd=pytestconfig.rootpath,
        )
        output = (await run.communicate())[0].decode()
    finally:
        for file in planted:
            file.unlink()
    assert "4 passed" in output, output


async def test_a_test_can_have_several_databases_of_its_own(clone: Callable[[], str]) -> None:
    engines = [create_async_engine(clone()) for _ in range(2)]
    for engine in engines:
        async with engine.begin() as connection:
            await connection.execute(sa.text("CREATE TABLE mine (id int)"))
        await engine.dispose()
    assert engines[0].url.database != engines[1].url.database
