"""What the database asks of PostgreSQL has an index, which is used where the tables are large."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from servicebase.pagination import Position

from gateway import errors
from gateway.ports import Database

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
INSERT INTO reservations (id, team_id, microcents, expires_at)
    SELECT gen_random_uuid(), id, 1, now() + interval '9 s' FROM teams;
ANALYZE teams, users, api_keys, model_aliases, reservations
"""
CASES: list[tuple[Callable[[Database], Awaitable[object]], str]] = [
    (lambda here: here.teams.page(limit=9, after=HERE), "ix_teams_created_at_id"),
    (lambda here: here.teams.page(limit=9, search="team 77"), "ix_teams_name_search"),
    (lambda here: here.users.page(limit=9, search="team 77"), "ix_users_email_search"),
    (lambda here: here.users.page(limit=9, where=OF_TEAM), "ix_users_team_id_created_at_id"),
    (lambda here: here.users.by_email("ann@example.org"), "uq_users_email"),
    (lambda here: here.keys.page(limit=9, search="key 77"), "ix_api_keys_name_search"),
    (lambda here: here.keys.page(limit=9, search="key 77"), "ix_api_keys_prefix_search"),
    (lambda here: here.keys.page(limit=9, where=OF_TEAM), "ix_api_keys_team_id_created_at_id"),
    (lambda here: here.keys.page(limit=9, where=OF_USER), "ix_api_keys_user_id_created_at_id"),
    (lambda here: here.grant("hash"), "uq_api_keys_hash"),
    (lambda here: here.grant("hash"), "uq_quotas_team_id"),
    (lambda here: here.aliases.page(limit=9, search="team 77"), "ix_model_aliases_alias_search"),
    (lambda here: here.aliases.page(limit=9, search="team 77"), "ix_model_aliases_tags"),
    (lambda here: here.aliases.routes(ID), "uq_model_aliases_team_id_alias"),
    (lambda here: here.spending.reserve(ID, ID, 1, ttl=9), "pk_teams"),
    (lambda here: here.spending.settle(ID, 1), "pk_reservations"),
    (lambda here: here.spending.settle(ID, 1), "pk_teams"),
    (lambda here: here.spending.renew([ID], ttl=9), "pk_reservations"),
    (lambda here: here.spending.give_back(), "ix_reservations_expires_at"),
]


async def first_statement(engine: AsyncEngine, call: Awaitable[object]) -> tuple[str, Any]:
    """Return what a call sends to the server, and its parameters."""
    sent: list[tuple[str, Any]] = []

    def listen(_: object, __: object, statement: str, parameters: Any, *___: object) -> None:
        sent.append((statement, parameters))

    sa.event.listen(engine.sync_engine, "before_cursor_execute", listen, once=True)
    # What fills the tables is not committed.
    with suppress(errors.NotFoundError):
        await call
    return sent[0]


async def test_every_query_uses_its_index(postgres_database: Database, engine: AsyncEngine) -> None:
    async with engine.connect() as connection, connection.begin() as transaction:
        for filling in FILL.split(";"):
            await connection.execute(sa.text(filling))
        for call, index in CASES:
            statement, parameters = await first_statement(engine, call(postgres_database))
            plan = await connection.exec_driver_sql(f"EXPLAIN {statement}", parameters)
            found = "\n".join(plan.scalars())
            assert index in found, found
        await transaction.rollback()
