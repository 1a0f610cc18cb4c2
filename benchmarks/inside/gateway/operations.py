"""Costs of the repository's operations, run sequentially in this process."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from uuid import uuid4

import uvloop
from gateway import domain
from gateway.adapters.postgres import PostgresDatabase
from servicebase import postgres
from sqlalchemy.ext.asyncio import AsyncEngine

TURN = 0.2
"""Seconds to repeat an operation."""
ROUNDS = 5

Operation = Callable[[], Awaitable[object]]


def measure(url: str) -> dict[str, list[tuple[float, float]]]:
    """Return the seconds of each operation in each round: wall clock, and CPU of this process."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_measure(url))


async def _measure(url: str) -> dict[str, list[tuple[float, float]]]:
    engine = postgres.connect(url, name="bench", pool_size=1, timeout=5)
    found: dict[str, list[tuple[float, float]]] = {}
    operations = await _operations(engine)
    for number in range(ROUNDS + 1):
        for name, operation in operations.items():
            sample = await _repeat(operation)
            # The first round prepares statements.
            if number:
                found.setdefault(name, []).append(sample)
    await engine.dispose()
    return found


async def _operations(engine: AsyncEngine) -> dict[str, Operation]:
    database = PostgresDatabase(engine)
    alone = engine.execution_options(isolation_level="AUTOCOMMIT")
    team = await database.teams.add(uuid4(), domain.NewTeam(name=f"{uuid4()}", budget_cents=10**6))
    user = await database.register(domain.NewTeam(name=f"{uuid4()}"), f"{uuid4()}@a.org", "hash")
    key = await database.keys.add(
        uuid4(),
        domain.NewApiKey(team_id=user.team_id, user_id=user.id, hash=f"{uuid4()}", prefix="sk-"),
    )

    def alias() -> domain.NewModelAlias:
        return domain.NewModelAlias(
            team_id=team.id, alias=f"{uuid4()}", target="echo", provider="echo", tags=("a", "b")
        )

    async def trip() -> None:
        async with alone.connect() as connection:
            await connection.exec_driver_sql("SELECT 1")

    async def charge() -> None:
        reservation = uuid4()
        await database.reserve(reservation, team.id, 2, ttl=60)
        await database.settle(reservation, 1)

    kept = await database.aliases.add(uuid4(), alias())
    return {
        "a round trip": trip,
        "create": lambda: database.aliases.add(uuid4(), alias()),
        "get": lambda: database.aliases.get(kept.id),
        "first page of 50": lambda: database.aliases.page(limit=50, where={"team_id": team.id}),
        "search": lambda: database.aliases.page(limit=50, search="a1"),
        "update": lambda: database.teams.update(team.id, {"budget_cents": 10**6}),
        "new version": lambda: database.aliases.update(kept.id, {"tags": ("c",)}),
        "key to grant": lambda: database.grant(key.hash),
        "reserve and settle": charge,
    }


async def _repeat(operation: Operation) -> tuple[float, float]:
    times = 0
    began, cpu = time.perf_counter(), time.process_time()
    while time.perf_counter() - began < TURN:
        await operation()
        times += 1
    return (time.perf_counter() - began) / times, (time.process_time() - cpu) / times
