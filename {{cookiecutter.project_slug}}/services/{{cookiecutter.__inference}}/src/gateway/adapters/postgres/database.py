"""The database, as the port has it, and what is spent of the budgets."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from pydantic import TypeAdapter
from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker

from servicebase.postgres import translated

from ... import domain, errors, ports
from ...models import ApiKeyRow, Base, ConfigRow, QuotaRow, TeamRow, UserRow
from .collections import PostgresAliases, PostgresCollection, PostgresUsers

_CONFIG = TypeAdapter(domain.Config)

# NUMERIC, since a product of a price and many tokens may be more than a BIGINT holds.
AMOUNT = sa.bindparam("amount", type_=sa.Numeric)

CENT = sa.bindparam("cent", domain.MICROCENTS, type_=sa.BigInteger)

RESERVE = sa.text("""
    WITH payer AS (
        UPDATE teams SET spent_microcents = spent_microcents + :amount
        WHERE id = :team AND spent_microcents + :amount <= budget_cents * :cent
        RETURNING id, :amount AS amount
    )
    INSERT INTO reservations (id, team_id, microcents, expires_at)
    SELECT :id, id, amount, now() + make_interval(secs => :ttl) FROM payer RETURNING id
""").bindparams(AMOUNT, CENT)
SETTLE = sa.text("""
    WITH ended AS (DELETE FROM reservations WHERE id = :id RETURNING team_id, microcents)
    UPDATE teams SET spent_microcents =
        least(greatest(spent_microcents - ended.microcents + :amount, 0), 9223372036854775807)
    FROM ended WHERE teams.id = ended.team_id
""").bindparams(AMOUNT)
RENEW = sa.text("""
    UPDATE reservations SET expires_at = now() + make_interval(secs => :ttl) WHERE id = ANY(:ids)
""")
# Of those who look at the same time one is enough, and several could wait for each other.
GIVE_BACK = sa.text("""
    WITH expired AS (
        SELECT id, team_id, microcents FROM reservations
        WHERE expires_at < now() AND microcents > 0 AND pg_try_advisory_xact_lock(7262318502)
        FOR UPDATE SKIP LOCKED
    ), emptied AS (
        UPDATE reservations SET microcents = 0 FROM expired WHERE reservations.id = expired.id
    ), returned AS (
        UPDATE teams SET spent_microcents = greatest(spent_microcents - total, 0)
        FROM (SELECT team_id, sum(microcents) AS total FROM expired GROUP BY team_id) AS owners
        WHERE teams.id = owners.team_id
    ), forgotten AS (
        DELETE FROM reservations WHERE expires_at < now() - interval '1 day' AND microcents = 0
    )
    SELECT count(*) FROM expired
""")


async def _first(engine: AsyncEngine, statement: sa.Executable, **values: object) -> Any:
    """Run a statement in a transaction of its own; return its first row, or None."""
    with translated(Base.metadata):
        async with engine.begin() as connection:
            result = await connection.execute(statement, values)
            return result.first() if result.returns_rows else None


class PostgresSpending:
    """Keeps what a team has spent in its row, and what is set aside in a row of its own.

    Each method is one round trip. No statement writes `updated_at`: what was spent is no change of
    the team.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def reserve(self, reservation: UUID, team: UUID, microcents: int, *, ttl: float) -> None:
        values = {"id": reservation, "team": team, "amount": microcents, "ttl": ttl}
        if not await _first(self._engine, RESERVE, **values):
            if not await _first(self._engine, sa.select(TeamRow.id).filter_by(id=team)):
                raise errors.NotFoundError("team", team)
            raise errors.BudgetError("your team's budget does not pay for this request")

    async def settle(self, reservation: UUID, microcents: int) -> None:
        await _first(self._engine, SETTLE, id=reservation, amount=microcents)

    async def renew(self, reservations: Sequence[UUID], *, ttl: float) -> None:
        if reservations:
            await _first(self._engine, RENEW, ids=list(reservations), ttl=ttl)

    async def give_back(self) -> int:
        [count] = await _first(self._engine, GIVE_BACK)
        return int(count)


class PostgresDatabase(ports.Database):
    """Keeps teams and all that belongs to them in tables. Each method is one transaction."""

    def __init__(self, engine: AsyncEngine) -> None:
        # A statement that is alone needs no round trips for a transaction around it.
        self._alone = engine.execution_options(isolation_level="AUTOCOMMIT")
        sessions = async_sessionmaker(engine)
        self.teams = PostgresCollection(sessions, TeamRow, domain.Team, "team", "name")
        self.users = PostgresUsers(sessions)
        self.keys = PostgresCollection(
            sessions, ApiKeyRow, domain.ApiKey, "API key", "name", "prefix"
        )
        self.aliases = PostgresAliases(sessions)
        self.quotas = PostgresCollection(sessions, QuotaRow, domain.Quota, "quota")
        self.spending = PostgresSpending(self._alone)

    async def register(self, team: domain.NewTeam, email: str, password_hash: str) -> domain.User:
        created = sa.insert(TeamRow).values(asdict(team)).returning(TeamRow.id).cte()
        values = {"email": email, "role": "admin", "password_hash": password_hash}
        join = sa.insert(UserRow).values(team_id=sa.select(created).scalar_subquery(), **values)
        row = await _first(self._alone, join.returning(*UserRow.__table__.columns))
        return domain.User(**row._asdict())

    async def config(self) -> domain.Config:
        newest = sa.select(ConfigRow.version, ConfigRow.config).order_by(ConfigRow.version.desc())
        row = await _first(self._alone, newest.limit(1))
        if row is None:
            return domain.Config()
        try:
            return replace(_CONFIG.validate_python(row.config), version=row.version)
        except ValueError as error:
            raise errors.UnreadableError("the stored value of the config cannot be read") from error

    async def add_config(self, config: domain.Config) -> domain.Config:
        stored = _CONFIG.dump_python(config, mode="json", exclude={"version"})
        added = sa.insert(ConfigRow).values(config=stored).returning(ConfigRow.version)
        [version] = await _first(self._alone, added)
        return replace(config, version=version)

    async def grant(self, key_hash: str) -> ports.Grant:
        key, quota = ApiKeyRow.__table__, QuotaRow.__table__
        statement = (
            sa.select(key, quota.c.requests_per_minute, quota.c.tokens_per_minute)
            .outerjoin_from(key, quota, quota.c.team_id == key.c.team_id)
            .where(key.c.hash == key_hash)
        )
        row = await _first(self._alone, statement)
        if row is None:
            raise errors.NotFoundError("API key", "with this hash")
        *values, requests, tokens = row
        limits = None if requests is None else domain.Limits(requests, tokens)
        return ports.Grant(domain.ApiKey(**dict(zip(key.c.keys(), values, strict=True))), limits)

    async def ping(self) -> None:
        await _first(self._alone, sa.text("SELECT 1"))
