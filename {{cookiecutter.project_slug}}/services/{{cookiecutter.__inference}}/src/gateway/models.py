"""The tables. migrations/ creates them; a test holds the two equal."""

from datetime import datetime
from typing import ClassVar
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import CheckConstraint, DateTime, Index, MetaData, String, Text, func
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, MappedColumn, mapped_column

from . import domain


class Base(DeclarativeBase):
    """What every table has in common."""

    # Without names of our own, neither a migration nor an error could tell constraints apart.
    metadata = MetaData(
        naming_convention={
            "pk": "pk_%(table_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        }
    )
    type_annotation_map: ClassVar = {
        str: Text,
        datetime: DateTime(timezone=True),
        dict[str, object]: JSONB,
        list[str]: ARRAY(Text),
    }


class Stored:
    """What every kind has. Columns are named as the fields of the domain's class."""

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=func.gen_random_uuid())
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    # Moved by each UPDATE that SQLAlchemy writes. A trigger would catch hand-written SQL as well,
    # but the metadata cannot hold one: nobody would see it missing from a migration.
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now(), onupdate=func.now())


def _owner(column: str, *, unique: bool | None = None) -> MappedColumn[UUID]:
    """Return a reference to what this belongs to, and is removed with."""
    return mapped_column(sa.ForeignKey(column, ondelete="CASCADE"), unique=unique)


def _rule(field: str, name: str, condition: str) -> CheckConstraint:
    # `info` tells the adapter which field a violation is about.
    return CheckConstraint(f"{field} {condition}", f"{field}_{name}", info={"field": field})


def _not_negative(field: str) -> CheckConstraint:
    return _rule(field, "not_negative", ">= 0")


def _listing(*owner: str) -> Index:
    """Return the order of a list, and so the way to each of its pages: of all, or of an owner's.

    That of an owner also finds what goes when the owner is removed.
    """
    return Index(None, *owner, "created_at", "id")


def _search(table: str, field: str) -> Index:
    """Return what finds a text by its beginning: in most locales LIKE can use no other kind."""
    return Index(
        f"ix_{table}_{field}_search",
        func.lower(sa.column(field)).label("lowered"),
        postgresql_ops={"lowered": "text_pattern_ops"},
    )


class TeamRow(Stored, Base):
    """One team."""

    __tablename__ = "teams"

    name: Mapped[str] = mapped_column(String(domain.NAME_LENGTH), unique=True)
    budget_cents: Mapped[int] = mapped_column(server_default="0")
    spent_microcents: Mapped[int] = mapped_column(sa.BigInteger, server_default="0")

    __table_args__ = (
        _not_negative("budget_cents"),
        _not_negative("spent_microcents"),
        _listing(),
        _search(__tablename__, "name"),
    )


class UserRow(Stored, Base):
    """One user."""

    __tablename__ = "users"

    team_id: Mapped[UUID] = _owner("teams.id")
    email: Mapped[str] = mapped_column(String(domain.EMAIL_LENGTH), unique=True)
    role: Mapped[domain.Role] = mapped_column(Text, server_default="member")
    password_hash: Mapped[str | None]

    __table_args__ = (
        _rule("role", "known", "IN ('member', 'admin')"),
        _listing(),
        _listing("team_id"),
        _search(__tablename__, "email"),
    )


class ApiKeyRow(Stored, Base):
    """One API key, of which only the hash is stored."""

    __tablename__ = "api_keys"

    team_id: Mapped[UUID] = _owner("teams.id")
    user_id: Mapped[UUID] = _owner("users.id")
    hash: Mapped[str] = mapped_column(unique=True)
    prefix: Mapped[str]
    name: Mapped[str | None] = mapped_column(String(domain.NAME_LENGTH))
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]

    __table_args__ = (
        _listing(),
        _listing("team_id"),
        _listing("user_id"),
        _search(__tablename__, "name"),
        _search(__tablename__, "prefix"),
    )


class Aliased:
    """What each version of an alias has of its own."""

    alias: Mapped[str]
    target: Mapped[str]
    provider: Mapped[str]
    tags: Mapped[list[str]] = mapped_column(server_default="{}")
    parameters: Mapped[dict[str, object]] = mapped_column(server_default="{}")


class ModelAliasRow(Aliased, Stored, Base):
    """One alias, as it is now."""

    __tablename__ = "model_aliases"

    team_id: Mapped[UUID] = _owner("teams.id")
    version: Mapped[int] = mapped_column(server_default="1")

    __table_args__ = (
        # Finds a team's aliases as well.
        sa.UniqueConstraint("team_id", "alias"),
        _rule("version", "positive", ">= 1"),
        _listing(),
        _search(__tablename__, "alias"),
        Index(None, "tags", postgresql_using="gin"),
    )


class ModelAliasVersionRow(Aliased, Base):
    """One alias as it was from `created_at` on; the newest version is here as well."""

    __tablename__ = "model_alias_versions"

    alias_id: Mapped[UUID] = mapped_column(
        sa.ForeignKey("model_aliases.id", ondelete="CASCADE"), primary_key=True
    )
    version: Mapped[int] = mapped_column(primary_key=True)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())

    __table_args__ = (_rule("version", "positive", ">= 1"),)


class QuotaRow(Stored, Base):
    """The quota of one team."""

    __tablename__ = "quotas"

    team_id: Mapped[UUID] = _owner("teams.id", unique=True)
    requests_per_minute: Mapped[int]
    tokens_per_minute: Mapped[int]

    __table_args__ = (
        _not_negative("requests_per_minute"),
        _not_negative("tokens_per_minute"),
        _listing(),
    )
