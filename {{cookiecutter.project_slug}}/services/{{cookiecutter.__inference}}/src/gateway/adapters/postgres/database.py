"""The database, as the port has it."""

from dataclasses import asdict, replace

import sqlalchemy as sa
from pydantic import TypeAdapter
from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker
from typing_extensions import override

from ... import domain, errors, ports
from ...models import ApiKeyRow, ConfigRow, QuotaRow, TeamRow, UserRow
from .collections import PostgresAliases, PostgresCollection, PostgresUsers
from .connection import transaction
from .spending import PostgresSpending

_CONFIG = TypeAdapter(domain.Config)


class PostgresDatabase(ports.Database):
    """Keeps teams and all that belongs to them in tables. Each method is one transaction."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
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

    @override
    async def register(self, team: domain.NewTeam, email: str, password_hash: str) -> domain.User:
        create = sa.insert(TeamRow).values(asdict(team)).returning(TeamRow.id)
        async with transaction(self._engine) as connection:
            admin = domain.NewUser(
                team_id=(await connection.execute(create)).scalar_one(),
                email=email,
                role="admin",
                password_hash=password_hash,
            )
            join = sa.insert(UserRow).values(asdict(admin)).returning(*UserRow.__table__.columns)
            return domain.User(**(await connection.execute(join)).mappings().one())

    @override
    async def config(self) -> domain.Config:
        newest = sa.select(ConfigRow.version, ConfigRow.config).order_by(ConfigRow.version.desc())
        async with transaction(self._alone) as connection:
            row = (await connection.execute(newest.limit(1))).one_or_none()
        if row is None:
            return domain.Config()
        try:
            return replace(_CONFIG.validate_python(row.config), version=row.version)
        except ValueError as error:
            raise errors.UnreadableError("the config") from error

    @override
    async def add_config(self, config: domain.Config) -> domain.Config:
        stored = _CONFIG.dump_python(config, mode="json", exclude={"version"})
        added = sa.insert(ConfigRow).values(config=stored).returning(ConfigRow.version)
        async with transaction(self._alone) as connection:
            return replace(config, version=(await connection.execute(added)).scalar_one())

    @override
    async def grant(self, key_hash: str) -> ports.Grant:
        key, quota = ApiKeyRow.__table__, QuotaRow.__table__
        statement = (
            sa.select(key, quota.c.requests_per_minute, quota.c.tokens_per_minute)
            .outerjoin_from(key, quota, quota.c.team_id == key.c.team_id)
            .where(key.c.hash == key_hash)
        )
        async with transaction(self._alone) as connection:
            row = (await connection.execute(statement)).one_or_none()
        if row is None:
            raise errors.NotFoundError("API key", "with this hash")
        *values, requests, tokens = row
        limits = None if requests is None else domain.Limits(requests, tokens)
        return ports.Grant(domain.ApiKey(**dict(zip(key.c.keys(), values, strict=True))), limits)

    @override
    async def ping(self) -> None:
        async with transaction(self._alone) as connection:
            await connection.execute(sa.text("SELECT 1"))
