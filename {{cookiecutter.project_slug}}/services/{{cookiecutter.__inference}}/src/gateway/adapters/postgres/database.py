"""The database, as the port has it."""

from dataclasses import replace

import sqlalchemy as sa
from pydantic import TypeAdapter
from sqlalchemy.ext.asyncio import AsyncEngine

from ... import domain, errors, models, ports
from .. import entities
from .aliases import PostgresAliases
from .collection import PostgresCollection, table
from .connection import transaction
from .spending import PostgresSpending
from .users import API_KEYS, PostgresUsers

TEAMS = table(models.TeamRow)
QUOTAS = table(models.QuotaRow)
CONFIGS = table(models.ConfigRow)

_CONFIG = TypeAdapter(domain.Config)

GRANT = (
    sa.select(API_KEYS, QUOTAS.c.requests_per_minute, QUOTAS.c.tokens_per_minute)
    .outerjoin_from(API_KEYS, QUOTAS, QUOTAS.c.team_id == API_KEYS.c.team_id)
    .where(API_KEYS.c.hash == sa.bindparam("key_hash"))
)


class PostgresDatabase:
    """Keeps teams and all that belongs to them in tables. Each method is one transaction."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        # A statement that is alone needs no round trips for a transaction around it.
        self._alone = engine.execution_options(isolation_level="AUTOCOMMIT")
        self.teams = PostgresCollection(engine, entities.TEAM, TEAMS)
        self.users = PostgresUsers(engine)
        self.keys = PostgresCollection(engine, entities.API_KEY, API_KEYS)
        self.aliases = PostgresAliases(engine)
        self.quotas = PostgresCollection(engine, entities.QUOTA, QUOTAS)
        self.spending = PostgresSpending(self._alone)

    async def register(self, team: domain.NewTeam, email: str, password_hash: str) -> domain.User:
        """Create a team and its first user, an admin of it: both or neither."""
        async with transaction(self._engine) as connection:
            created = await self.teams.insert(connection, team)
            admin = domain.NewUser(
                team_id=created.id, email=email, role="admin", password_hash=password_hash
            )
            return await self.users.insert(connection, admin)

    async def config(self) -> domain.Config:
        """Return the newest config; the default one if there is none."""
        newest = sa.select(CONFIGS).order_by(CONFIGS.c.version.desc()).limit(1)
        async with transaction(self._alone) as connection:
            row = (await connection.execute(newest)).one_or_none()
        if row is None:
            return domain.Config()
        try:
            return replace(_CONFIG.validate_python(row.config), version=row.version)
        except ValueError as error:
            raise errors.UnreadableError("the config") from error

    async def add_config(self, config: domain.Config) -> domain.Config:
        """Store a config, and return it with a version greater than all others."""
        stored = _CONFIG.dump_python(config, mode="json", exclude={"version"})
        added = sa.insert(CONFIGS).values(config=stored).returning(CONFIGS.c.version)
        async with transaction(self._alone) as connection:
            return replace(config, version=(await connection.execute(added)).scalar_one())

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

    async def ping(self) -> None:
        """Return if the server answers a query."""
        async with transaction(self._alone) as connection:
            await connection.execute(sa.text("SELECT 1"))
