"""The tables. migrations/ creates them; a test holds the two equal."""

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
    """What every table has in common."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map: ClassVar = {**TYPES, str: Text}


def _owner(column: str, **more: Any) -> MappedColumn[UUID]:
    """Return a reference to what this belongs to, and is removed with."""
    return mapped_column(sa.ForeignKey(column, ondelete="CASCADE"), **more)


def _rule(field: str, name: str, condition: str) -> CheckConstraint:
    # `info` tells the adapter which field a violation is about.
    return CheckConstraint(f"{field} {condition}", f"{field}_{name}", info={"field": field})


def _not_negative(*fields: str) -> list[CheckConstraint]:
    return [_rule(field, "not_negative", ">= 0") for field in fields]


def _lists(table: str, *searched: str, of: Sequence[str] = ()) -> Iterator[Index]:
    """Yield what leads to each page: of all, of an owner's, of those that a search finds.

    That of an owner also finds what goes when the owner is removed. A text is found by its
    beginning: in most locales LIKE can use no other kind.
    """
    yield Index(None, "created_at", "id")
    yield from (Index(None, owner, "created_at", "id") for owner in of)
    for field in searched:
        lowered = func.lower(sa.column(field)).label("lowered")
        ops = {"lowered": "text_pattern_ops"}
        yield Index(f"ix_{table}_{field}_search", lowered, postgresql_ops=ops)


class TeamRow(Stored, Base):
    """One team."""

    __tablename__ = "teams"

    name: Mapped[str] = mapped_column(String(domain.NAME_LENGTH), unique=True)
    budget_cents: Mapped[int] = mapped_column(server_default="0")
    spent_microcents: Mapped[int] = mapped_column(sa.BigInteger, server_default="0")

    __table_args__ = (
        *_not_negative("budget_cents", "spent_microcents"),
        *_lists(__tablename__, "name"),
    )


class ReservationRow(Base):
    """What is set aside of a team's budget for a request; nothing once it was given back."""

    __tablename__ = "reservations"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    team_id: Mapped[UUID] = _owner("teams.id", index=True)
    microcents: Mapped[int] = mapped_column(sa.BigInteger)
    expires_at: Mapped[datetime] = mapped_column(index=True)

    __table_args__ = (*_not_negative("microcents"),)


class UserRow(Stored, Base):
    """One user."""

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
    """Somebody who is logged in; of the token only the hash is stored."""

    __tablename__ = "sessions"

    hash: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[UUID] = _owner("users.id", index=True)
    expires_at: Mapped[datetime] = mapped_column(index=True)


class ConfigRow(Base):
    """A config that was published. That with the greatest version holds."""

    __tablename__ = "configs"

    version: Mapped[int] = mapped_column(sa.Identity(), primary_key=True)
    config: Mapped[dict[str, object]]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


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

    __table_args__ = (*_lists(__tablename__, "name", "prefix", of=["team_id", "user_id"]),)


class Aliased:
    """What each version of an alias has of its own."""

    alias: Mapped[str]
    target: Mapped[str]
    provider: Mapped[str]
    tags: Mapped[tuple[str, ...]] = mapped_column(server_default="{}")
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
        *_lists(__tablename__, "alias"),
        Index(None, "tags", postgresql_using="gin"),
    )


class ModelAliasVersionRow(Aliased, Base):
    """One alias as it was from `created_at` on; the newest version is here as well."""

    __tablename__ = "model_alias_versions"

    alias_id: Mapped[UUID] = _owner("model_aliases.id", primary_key=True)
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
        *_not_negative("requests_per_minute", "tokens_per_minute"),
        *_lists(__tablename__),
    )
