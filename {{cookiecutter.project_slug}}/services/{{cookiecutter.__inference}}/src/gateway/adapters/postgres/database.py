"""The database, as the port has it."""

from collections.abc import Mapping, Sequence
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from ... import domain, errors, models, ports
from .. import entities
from .aliases import PostgresAliases
from .collection import PostgresCollection, table
from .connection import transaction

TEAMS = table(models.TeamRow)
USERS = table(models.UserRow)
API_KEYS = table(models.ApiKeyRow)
QUOTAS = table(models.QuotaRow)

GRANT = (
    sa.select(API_KEYS, QUOTAS.c.requests_per_minute, QUOTAS.c.tokens_per_minute)
    .outerjoin_from(API_KEYS, QUOTAS, QUOTAS.c.team_id == API_KEYS.c.team_id)
    .where(API_KEYS.c.hash == sa.bindparam("key_hash"))
)
# NUMERIC, since a product of a price and many tokens may be more than a BIGINT holds.
AMOUNT = sa.bindparam("amount", type_=sa.Numeric)
SPENT = TEAMS.c.spent_microcents + AMOUNT
BUDGET = sa.cast(TEAMS.c.budget_cents, sa.BigInteger) * domain.MICROCENTS
SPEND = (
    sa.update(TEAMS)
    .where(TEAMS.c.id == sa.bindparam("team"), (AMOUNT <= 0) | (SPENT <= BUDGET))
    # What was spent is no change of the team: `updated_at` stays.
    .values(spent_microcents=sa.func.greatest(SPENT, 0), updated_at=TEAMS.c.updated_at)
    .returning(TEAMS.c.id)
)


class PostgresDatabase:
    """Keeps teams and all that belongs to them in tables. Each method is one transaction."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        # A statement that is alone needs no round trips for a transaction around it.
        self._alone = engine.execution_options(isolation_level="AUTOCOMMIT")
        self.teams = PostgresCollection(engine, entities.TEAM, TEAMS)
        self.users = PostgresCollection(engine, entities.USER, USERS)
        self.keys = PostgresCollection(engine, entities.API_KEY, API_KEYS)
        self.aliases = PostgresAliases(engine)
        self.quotas = PostgresCollection(engine, entities.QUOTA, QUOTAS)

    async def register(self, team: domain.NewTeam, email: str, password_hash: str) -> domain.User:
        """Create a team and its first user, an admin of it: both or neither."""
        async with transaction(self._engine) as connection:
            created = await self.teams.insert(connection, team)
            admin = domain.NewUser(
                team_id=created.id, email=email, role="admin", password_hash=password_hash
            )
            return await self.users.insert(connection, admin)

    async def user_by_email(self, email: str) -> domain.User:
        """Return the user with this email."""
        return await self.users.find(USERS.c.email, email)

    async def grant(self, key_hash: str) -> ports.Grant:
        """Return what the key with this hash gives access to, be it expired or revoked."""
        async with transaction(self._alone) as connection:
            row = (await connection.execute(GRANT, {"key_hash": key_hash})).one_or_none()
        if row is None:
            raise errors.NotFoundError(entities.API_KEY.name, "with this hash")
        values = row._asdict()
        requests, tokens = values.pop("requests_per_minute"), values.pop("tokens_per_minute")
        limits = None if requests is None else domain.Limits(requests, tokens)
        return ports.Grant(domain.ApiKey(**values), limits)

    async def routes(self, team: UUID) -> Mapping[str, domain.ModelAlias]:
        """Return a team's aliases by their names; none for a team that does not exist."""
        return await self.aliases.routes(team)

    async def versions(self, alias: UUID | str) -> Sequence[domain.ModelAlias]:
        """Return all versions of an alias, the newest first."""
        return await self.aliases.versions(alias)

    async def spend(self, team: UUID, microcents: int) -> None:
        """Take this much of a team's budget, in one atomic step; a negative amount gives back."""
        async with transaction(self._alone) as connection:
            values = {"team": team, "amount": microcents}
            spent = (await connection.execute(SPEND, values)).one_or_none()
        if spent is None:
            # It says so if there is no such team.
            await self.teams.get(team)
            raise errors.BudgetError

    async def ping(self) -> None:
        """Return if the server answers a query."""
        async with transaction(self._alone) as connection:
            await connection.execute(sa.text("SELECT 1"))
