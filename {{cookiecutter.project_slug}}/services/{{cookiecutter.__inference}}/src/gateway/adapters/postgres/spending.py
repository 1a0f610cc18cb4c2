"""What is spent of the budgets. Each method is one statement, and so one round trip."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from ... import domain, errors, models
from .connection import transaction

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


class PostgresSpending:
    """Keeps what a team has spent in its row, and what is set aside in a row of its own.

    No statement writes `updated_at`: what was spent is no change of the team.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def reserve(self, reservation: UUID, team: UUID, microcents: int, *, ttl: float) -> None:
        """Set this much of a team's budget aside, for `ttl` seconds."""
        values = {"id": reservation, "team": team, "amount": microcents, "ttl": ttl}
        if await self._run(RESERVE, **values) is None:
            if await self._run(sa.select(models.TeamRow.id).filter_by(id=team)) is None:
                raise errors.NotFoundError("team", team)
            raise errors.BudgetError

    async def settle(self, reservation: UUID, microcents: int) -> None:
        """Book what was used in the place of what a reservation has set aside."""
        await self._run(SETTLE, id=reservation, amount=microcents)

    async def renew(self, reservations: Sequence[UUID], *, ttl: float) -> None:
        """Let reservations hold for `ttl` seconds from now."""
        if reservations:
            await self._run(RENEW, ids=list(reservations), ttl=ttl)

    async def give_back(self) -> int:
        """Give back what is set aside by reservations that have expired; return how many."""
        return int(await self._run(GIVE_BACK))

    async def _run(self, statement: sa.Executable, **values: object) -> Any:
        """Run a statement; return the first value of its first row, if it has one."""
        async with transaction(self._engine) as connection:
            result = await connection.execute(statement, values)
            return result.scalar() if result.returns_rows else None
