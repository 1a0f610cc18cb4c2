"""Tables of the database. migrations/ creates them; a test compares the two."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, ClassVar, get_args
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import CheckConstraint, Index, MetaData, String, Text, func
from sqlalchemy.orm import DeclarativeBase, Mapped, MappedColumn, mapped_column

from servicebase.tables import NAMING, TYPES, Stored

from . import domain


class Base(DeclarativeBase):
    """Declarative base of all tables."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map: ClassVar = {**TYPES, str: Text}


def _owner(column: str, **more: Any) -> MappedColumn[UUID]:
    """Return a foreign key to the owner of a row; deletes cascade."""
    return mapped_column(sa.ForeignKey(column, ondelete="CASCADE"), **more)


def _rule(field: str, name: str, condition: str) -> CheckConstraint:
    # `info` tells the adapter which field a violation is about.
    return CheckConstraint(f"{field} {condition}", f"{field}_{name}", info={"field": field})


def _not_negative(*fields: str) -> list[CheckConstraint]:
    return [_rule(field, "not_negative", ">= 0") for field in fields]


def _lists(table: str, *searched: str, of: Sequence[str] = ()) -> Iterator[Index]:
    """Yield the indexes for pages of all rows, of an owner's rows, and of search results.

    The index of an owner also serves cascading deletes. Searches match prefixes, for which LIKE
    needs `text_pattern_ops` in most locales.
    """
    yield Index(None, "created_at", "id")
    yield from (Index(None, owner, "created_at", "id") for owner in of)
    for field in searched:
        lowered = func.lower(sa.column(field)).label("lowered")
        ops = {"lowered": "text_pattern_ops"}
        yield Index(f"ix_{table}_{field}_search", lowered, postgresql_ops=ops)


class TeamRow(Stored, Base):
    """A team."""

    __tablename__ = "teams"

    name: Mapped[str] = mapped_column(String(domain.NAME_LENGTH), unique=True)
    budget_cents: Mapped[int] = mapped_column(server_default="0")
    spent_microcents: Mapped[int] = mapped_column(sa.BigInteger, server_default="0")

    __table_args__ = (
        *_not_negative("budget_cents", "spent_microcents"),
        *_lists(__tablename__, "name"),
    )


class ReservationRow(Base):
    """Part of a team's budget that is reserved for a request; 0 once it was given back."""

    __tablename__ = "reservations"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    team_id: Mapped[UUID] = _owner("teams.id", index=True)
    microcents: Mapped[int] = mapped_column(sa.BigInteger)
    expires_at: Mapped[datetime] = mapped_column(index=True)

    __table_args__ = (*_not_negative("microcents"),)


class UserRow(Stored, Base):
    """A user."""

    __tablename__ = "users"

    team_id: Mapped[UUID] = _owner("teams.id")
    email: Mapped[str] = mapped_column(String(domain.EMAIL_LENGTH), unique=True)
    role: Mapped[domain.Role] = mapped_column(Text, server_default="member")
    password_hash: Mapped[str | None]

    __table_args__ = (
        _rule("role", "known", f"IN {get_args(domain.Role)}"),
        *_lists(__tablename__, "email", of=["team_id"]),
    )


class SessionRow(Base):
    """A login session; only the hash of its token is stored."""

    __tablename__ = "sessions"

    hash: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[UUID] = _owner("users.id", index=True)
    expires_at: Mapped[datetime] = mapped_column(index=True)


class ConfigRow(Base):
    """A published config. The one with the greatest version is the current one."""

    __tablename__ = "configs"

    version: Mapped[int] = mapped_column(sa.Identity(), primary_key=True)
    config: Mapped[dict[str, object]]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class KeyRow(Stored, Base):
    """An API key; only the hash of the key itself is stored."""

    __tablename__ = "api_keys"

    team_id: Mapped[UUID] = _owner("teams.id")
    user_id: Mapped[UUID] = _owner("users.id")
    hash: Mapped[str] = mapped_column(unique=True)
    prefix: Mapped[str]
    name: Mapped[str | None] = mapped_column(String(domain.NAME_LENGTH))
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]

    __table_args__ = (*_lists(__tablename__, "name", "prefix", of=["team_id", "user_id"]),)


class Aliased:
    """Columns that each version of an alias has."""

    alias: Mapped[str]
    target: Mapped[str]
    provider: Mapped[str]
    tags: Mapped[tuple[str, ...]] = mapped_column(server_default="{}")
    parameters: Mapped[dict[str, object]] = mapped_column(server_default="{}")


class AliasRow(Aliased, Stored, Base):
    """An alias at its newest version."""

    __tablename__ = "model_aliases"

    team_id: Mapped[UUID] = _owner("teams.id")
    version: Mapped[int] = mapped_column(server_default="1")

    __table_args__ = (
        # Its index also finds a team's aliases.
        sa.UniqueConstraint("team_id", "alias"),
        _rule("version", "positive", ">= 1"),
        *_lists(__tablename__, "alias"),
        Index(None, "tags", postgresql_using="gin"),
    )


class VersionRow(Aliased, Base):
    """A version of an alias, valid from `created_at` on; the newest one is here as well."""

    __tablename__ = "model_alias_versions"

    alias_id: Mapped[UUID] = _owner("model_aliases.id", primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())

    __table_args__ = (_rule("version", "positive", ">= 1"),)


class QuotaRow(Stored, Base):
    """A team's quota."""

    __tablename__ = "quotas"

    team_id: Mapped[UUID] = _owner("teams.id", unique=True)
    requests_per_minute: Mapped[int]
    tokens_per_minute: Mapped[int]

    __table_args__ = (
        *_not_negative("requests_per_minute", "tokens_per_minute"),
        *_lists(__tablename__),
    )
