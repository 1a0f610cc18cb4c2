"""Database port on PostgreSQL. Each method is one transaction."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import orm
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker

from servicebase.postgres import translated
from servicebase.postgres_repository import PostgresRepository, Row
from servicebase.repository import Found, New

from .. import domain, errors, ports
from ..models import AliasRow, ConfigRow, KeyRow, QuotaRow, SessionRow, TeamRow, UserRow, VersionRow

Sessions = async_sessionmaker[AsyncSession]


class PostgresCollection(PostgresRepository[New, Found, ports.Changes, Row]):
    """Repository of one entity, whose fields are named like the columns of its table."""

    def __init__(
        self, sessions: Sessions, row: type[Row], kind: type[Found], name: str, *searched: str
    ) -> None:
        super().__init__(sessions)
        self.row, self.kind, self.name = row, kind, name
        self._searched = searched

    def matches(self, search: str) -> sa.ColumnElement[bool]:
        found: list[sa.ColumnElement[bool]] = [sa.false()]
        for column in (getattr(self.row, field) for field in self._searched):
            among = isinstance(column.type, sa.ARRAY)
            begins = sa.func.lower(column).startswith(search, autoescape=True)
            found.append(column.contains([search]) if among else begins)
        return sa.or_(*found)


class PostgresUsers(PostgresCollection[domain.NewUser, domain.User, UserRow]):
    """Users, and their open sessions in a second table."""

    async def update(self, id_: UUID, changes: ports.Changes) -> domain.User:
        if "password_hash" not in changes:
            return await super().update(id_, changes)
        async with self._transaction() as session:
            # Locked, to serialize with requests that are just creating a key or a session.
            await session.execute(sa.select(UserRow.id).filter_by(id=id_).with_for_update())
            await session.execute(sa.delete(SessionRow).filter_by(user_id=id_))
            if changes["password_hash"] is None:
                good = sa.update(KeyRow).filter_by(user_id=id_, revoked_at=None)
                await session.execute(good.values(revoked_at=sa.func.now()))
            change = sa.update(UserRow).filter_by(id=id_).values(**changes).returning(UserRow)
            return self._found(await session.scalar(change), id_)

    async def add_session(self, session: domain.Session, password_hash: str, now: datetime) -> None:
        owner = sa.select(UserRow).filter_by(id=session.user_id, password_hash=password_hash)
        async with self._transaction() as connection:
            # Lock the user first, as a change of password does: another order could deadlock.
            row = await connection.scalar(owner.with_for_update(read=True))
            self._found(row, "with this password")
            await connection.execute(sa.delete(SessionRow).where(SessionRow.expires_at <= now))
            await connection.execute(sa.insert(SessionRow).values(asdict(session)))

    async def session(self, hash_: str) -> tuple[domain.Session, domain.User]:
        both = sa.select(*SessionRow.__table__.columns, UserRow).join_from(SessionRow, UserRow)
        async with self._transaction() as connection:
            row = (await connection.execute(both.where(SessionRow.hash == hash_))).one_or_none()
            if row is None:
                raise errors.NotFoundError("session", "with this hash")
            *session, user = row
            return domain.Session(*session), self.entity(user)

    async def end_session(self, hash_: str) -> None:
        async with self._transaction() as connection:
            await connection.execute(sa.delete(SessionRow).filter_by(hash=hash_))


ALIASES, VERSIONS = AliasRow.__table__, VersionRow.__table__
RENAMED = {"alias_id": "id", "created_at": "updated_at"}
"""Columns that are named differently: a version is created when its alias is updated."""


class PostgresAliases(PostgresCollection[domain.NewModelAlias, domain.ModelAlias, AliasRow]):
    """Aliases, and all of their versions in a second table."""

    async def update(
        self, id_: UUID, changes: ports.Changes, *, version: int | None = None
    ) -> domain.ModelAlias:
        if changes:
            seen = {} if version is None else {"version": version}
            change = sa.update(AliasRow).filter_by(id=id_, **seen)
            change = change.values(**changes, version=AliasRow.version + 1)
            with suppress(errors.NotFoundError):
                return await self._write(change, id_)
        alias = await self.get(id_)
        if version not in {None, alias.version}:
            why = f"this alias is no longer at version {version}; read it again"
            raise errors.VersionConflictError(why)
        return alias

    async def _write(self, change: sa.Insert | sa.Update, id_: UUID) -> domain.ModelAlias:
        # One statement, so that each change has exactly one version.
        made = change.returning(*ALIASES.columns).cte("made")
        names = [column.name for column in VERSIONS.columns]
        version = sa.select(*(made.c[RENAMED.get(name, name)] for name in names))
        recorded = sa.insert(VersionRow).from_select(names, version).cte("recorded")
        return await self._one(sa.select(orm.aliased(AliasRow, made)).add_cte(recorded), id_)

    async def routes(self, team: UUID) -> Mapping[str, domain.ModelAlias]:
        async with self._transaction() as session:
            rows = await session.scalars(sa.select(AliasRow).filter_by(team_id=team))
            return {row.alias: self.entity(row) for row in rows}

    async def versions(self, id_: UUID) -> Sequence[domain.ModelAlias]:
        newest = await self.get(id_)
        statement = sa.select(VERSIONS).filter_by(alias_id=id_).order_by(sa.desc("version"))
        async with self._transaction() as session:
            rows = [row._asdict() for row in await session.execute(statement)]
            named = [{RENAMED.get(name, name): row[name] for name in row} for row in rows]
            return [replace(newest, **each) for each in named]


# NUMERIC, since a price times many tokens may exceed BIGINT.
AMOUNT = sa.bindparam("amount", type_=sa.Numeric)

CENT = sa.bindparam("cent", domain.MICROCENTS, type_=sa.BigInteger)

# A team's row has what was spent, and each reservation a row of its own. None of these sets
# `updated_at`: spending is not an edit of the team.
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
# The advisory lock admits one process at a time: several could deadlock.
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


class PostgresDatabase(ports.Database):
    """Database port on PostgreSQL tables."""

    def __init__(self, engine: AsyncEngine) -> None:
        # Autocommit saves a single statement the round trips of BEGIN and COMMIT.
        self._alone = engine.execution_options(isolation_level="AUTOCOMMIT")
        sessions = async_sessionmaker(engine)
        self.teams = PostgresCollection(sessions, TeamRow, domain.Team, "team", "name")
        self.users = PostgresUsers(sessions, UserRow, domain.User, "user", "email")
        self.keys = PostgresCollection(sessions, KeyRow, domain.ApiKey, "API key", "name", "prefix")
        self.aliases = PostgresAliases(
            sessions, AliasRow, domain.ModelAlias, "alias", "alias", "tags"
        )
        self.quotas = PostgresCollection(sessions, QuotaRow, domain.Quota, "quota")

    async def register(self, team: domain.NewTeam, email: str, password_hash: str) -> domain.User:
        created = sa.insert(TeamRow).values(asdict(team)).returning(TeamRow.id).cte()
        values = {"email": email, "role": "admin", "password_hash": password_hash}
        join = sa.insert(UserRow).values(team_id=sa.select(created).scalar_subquery(), **values)
        row = await self._first(join.returning(*UserRow.__table__.columns))
        return domain.User(**row._asdict())

    async def config(self) -> domain.Config:
        newest = sa.select(ConfigRow.version, ConfigRow.config).order_by(ConfigRow.version.desc())
        row = await self._first(newest.limit(1))
        if row is None:
            return domain.Config()
        try:
            return replace(domain.CONFIG.validate_python(row.config), version=row.version)
        except ValueError as error:
            raise errors.UnreadableError("the stored value of the config cannot be read") from error

    async def add_config(self, config: domain.Config) -> domain.Config:
        stored = domain.CONFIG.dump_python(config, mode="json", exclude={"version"})
        added = sa.insert(ConfigRow).values(config=stored).returning(ConfigRow.version)
        [version] = await self._first(added)
        return replace(config, version=version)

    async def grant(self, key_hash: str) -> ports.Grant:
        key, quota = KeyRow.__table__, QuotaRow.__table__
        statement = (
            sa.select(key, quota.c.requests_per_minute, quota.c.tokens_per_minute)
            .outerjoin_from(key, quota, quota.c.team_id == key.c.team_id)
            .where(key.c.hash == key_hash)
        )
        row = await self._first(statement)
        if row is None:
            raise errors.NotFoundError("API key", "with this hash")
        *values, requests, tokens = row
        limits = None if requests is None else domain.Limits(requests, tokens)
        return ports.Grant(domain.ApiKey(**dict(zip(key.c.keys(), values, strict=True))), limits)

    async def reserve(self, reservation: UUID, team: UUID, microcents: int, *, ttl: float) -> None:
        values = {"id": reservation, "team": team, "amount": microcents, "ttl": ttl}
        if not await self._first(RESERVE, **values):
            raise errors.BudgetError("your team's budget does not cover this request")

    async def settle(self, reservation: UUID, microcents: int) -> None:
        await self._first(SETTLE, id=reservation, amount=microcents)

    async def renew(self, reservations: Sequence[UUID], *, ttl: float) -> None:
        if reservations:
            await self._first(RENEW, ids=list(reservations), ttl=ttl)

    async def give_back(self) -> int:
        [count] = await self._first(GIVE_BACK)
        return int(count)

    async def _first(self, statement: sa.Executable, **values: object) -> Any:
        """Run a statement in its own transaction; return its first row, or None."""
        with translated(TeamRow.metadata):
            async with self._alone.begin() as connection:
                result = await connection.execute(statement, values)
                return result.first() if result.returns_rows else None
