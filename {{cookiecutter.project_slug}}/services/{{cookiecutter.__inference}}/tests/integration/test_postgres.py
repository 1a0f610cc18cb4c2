"""The database on PostgreSQL, beyond its contract: races between transactions, and indexes."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from servicebase.pagination import Position
from stratakit.testing import eventually
from stratakit.testing.locks import waiting

from gateway import domain, errors
from gateway.domain import MICROCENTS, NewTeam
from gateway.models import ConfigRow, KeyRow, TeamRow
from gateway.ports import Database

LAMP = NewTeam(name="lamp", budget_cents=1)
EMAIL = "ann@example.org"


async def meet(engine: AsyncEngine, first: sa.Executable, second: Coroutine[Any, Any, Any]) -> Any:
    """Return the result of a call that has to wait for the commit of the first statement."""
    async with engine.begin() as connection:
        await connection.execute(first)
        task = asyncio.create_task(second)
        await eventually(lambda: waiting(engine))
    return await task


async def test_a_reservation_waits_for_a_concurrent_update_and_sees_the_spent_budget(
    postgres_database: Database, engine: AsyncEngine
) -> None:
    team = await postgres_database.teams.add(uuid4(), LAMP)
    reserve = postgres_database.reserve(UUID(int=7), team.id, 1, ttl=9)
    with pytest.raises(errors.BudgetError):
        await meet(engine, sa.update(TeamRow).values(spent_microcents=MICROCENTS), reserve)


async def test_locking_out_a_user_also_revokes_a_key_that_is_being_created(
    postgres_database: Database, engine: AsyncEngine
) -> None:
    user = await postgres_database.register(LAMP, EMAIL, "hash")
    new = {"team_id": user.team_id, "user_id": user.id, "hash": "x", "prefix": "sk-"}
    lock_out = postgres_database.users.update(user.id, {"password_hash": None})
    await meet(engine, sa.insert(KeyRow).values(new), lock_out)
    assert (await postgres_database.grant("x")).key.revoked_at


@pytest.mark.parametrize("stored", [{"version": "many"}, {"models": {"echo": "echo"}}])
async def test_an_invalid_stored_config_raises_until_a_new_one_is_added(
    postgres_database: Database, engine: AsyncEngine, stored: dict[str, object]
) -> None:
    async with engine.begin() as connection:
        await connection.execute(sa.insert(ConfigRow).values(config=stored))
    with pytest.raises(errors.UnreadableError):
        await postgres_database.config()
    added = await postgres_database.add_config(domain.Config(max_tokens=5))
    assert await postgres_database.config() == added


ID = UUID(int=7)
OF_TEAM, OF_USER = {"team_id": ID}, {"user_id": ID}
HERE = Position(datetime.now(UTC), ID)
FILL = """
INSERT INTO teams (name) SELECT 'team ' || n FROM generate_series(1, 4000) n;
INSERT INTO users (team_id, email) SELECT id, name || '@example.org' FROM teams;
INSERT INTO api_keys (team_id, user_id, hash, prefix, name)
    SELECT team_id, id, email, 'sk-' || email, 'key ' || email FROM users;
INSERT INTO model_aliases (team_id, alias, target, provider, tags)
    SELECT id, name, 'echo', 'echo', ARRAY[name] FROM teams;
INSERT INTO quotas (team_id, requests_per_minute, tokens_per_minute) SELECT id, 1, 1 FROM teams;
INSERT INTO reservations (id, team_id, microcents, expires_at)
    SELECT gen_random_uuid(), id, 1, now() + interval '9 s' FROM teams;
ANALYZE teams, users, api_keys, model_aliases, quotas, reservations
"""
CASES: list[tuple[Callable[[Database], Awaitable[object]], str]] = [
    (lambda here: here.teams.page(limit=9, after=HERE), "ix_teams_created_at_id"),
    (lambda here: here.teams.page(limit=9, search="team 77"), "ix_teams_name_search"),
    (lambda here: here.users.page(limit=9, search="team 77"), "ix_users_email_search"),
    (lambda here: here.users.page(limit=9, where=OF_TEAM), "ix_users_team_id_created_at_id"),
    (lambda here: here.users.page(limit=1, where={"email": "ann@example.org"}), "uq_users_email"),
    (lambda here: here.keys.page(limit=9, search="key 77"), "ix_api_keys_name_search"),
    (lambda here: here.keys.page(limit=9, search="key 77"), "ix_api_keys_prefix_search"),
    (lambda here: here.keys.page(limit=9, where=OF_TEAM), "ix_api_keys_team_id_created_at_id"),
    (lambda here: here.keys.page(limit=9, where=OF_USER), "ix_api_keys_user_id_created_at_id"),
    (lambda here: here.grant("hash"), "uq_api_keys_hash"),
    (lambda here: here.grant("hash"), "uq_quotas_team_id"),
    (lambda here: here.aliases.page(limit=9, search="team 77"), "ix_model_aliases_alias_search"),
    (lambda here: here.aliases.page(limit=9, search="team 77"), "ix_model_aliases_tags"),
    (lambda here: here.aliases.routes(ID), "uq_model_aliases_team_id_alias"),
    (lambda here: here.reserve(ID, ID, 1, ttl=9), "pk_teams"),
    (lambda here: here.settle(ID, 1), "pk_reservations"),
    (lambda here: here.settle(ID, 1), "pk_teams"),
    (lambda here: here.renew([ID], ttl=9), "pk_reservations"),
    (lambda here: here.give_back(), "ix_reservations_expires_at"),
]


async def first_statement(engine: AsyncEngine, call: Awaitable[object]) -> tuple[str, Any]:
    """Return the first statement that a call sends to the server, and its parameters."""
    sent: list[tuple[str, Any]] = []

    def listen(_: object, __: object, statement: str, parameters: Any, *___: object) -> None:
        sent.append((statement, parameters))

    sa.event.listen(engine.sync_engine, "before_cursor_execute", listen, once=True)
    # The call does not see the rows, which are not committed.
    with suppress(errors.NotFoundError, errors.BudgetError):
        await call
    return sent[0]


async def test_every_query_uses_its_index(
    postgres_database: Database, engine: AsyncEngine, rollback: AsyncConnection
) -> None:
    for filling in FILL.split(";"):
        await rollback.execute(sa.text(filling))
    for call, index in CASES:
        statement, parameters = await first_statement(engine, call(postgres_database))
        plan = await rollback.exec_driver_sql(f"EXPLAIN {statement}", parameters)
        found = "\n".join(plan.scalars())
        assert index in found, found
