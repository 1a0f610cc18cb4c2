"""What clients are shown. No hash is among it."""

from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Self
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from ... import domain


def _cents(microcents: int) -> float:
    return microcents / domain.MICROCENTS


class Stored(BaseModel):
    """What everything that exists has."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    created_at: datetime
    updated_at: datetime


class Team(Stored):
    """A team."""

    name: str
    budget_cents: int
    spent_cents: Annotated[float, BeforeValidator(_cents)] = Field(
        validation_alias="spent_microcents"
    )
    """With what is set aside for requests at hand."""


class User(Stored):
    """A user."""

    team_id: UUID
    email: str
    role: domain.Role


class Key(Stored):
    """An API key; of the key itself, only its beginning."""

    team_id: UUID
    user_id: UUID
    prefix: str
    name: str | None
    expires_at: datetime | None
    revoked_at: datetime | None


class IssuedKey(Key):
    """A new API key, which is shown this once."""

    key: str

    @classmethod
    def of(cls, kept: domain.ApiKey, key: str) -> Self:
        """Return it with the key that `kept` is of."""
        return cls(**asdict(kept), key=key)
