"""What administrators send."""

from dataclasses import asdict
from typing import Any, Self
from uuid import UUID

from pydantic import ConfigDict, Field, model_validator

from ... import domain, errors
from . import fields


class TeamPatch(fields.Body):
    """Changes of a team."""

    name: fields.Name = ""
    budget_cents: fields.Amount = 0


class TeamCreate(TeamPatch):
    """A team to create."""

    name: fields.Name


class UserPatch(fields.Body):
    """Changes of a user.

    A new password ends their sessions. With null they can no longer log in: it revokes their keys,
    too.
    """

    email: fields.Email = ""
    role: domain.Role = "member"
    password: fields.Password | None = None


class UserCreate(UserPatch):
    """A user to create, who can log in if there is a password."""

    team_id: UUID
    email: fields.Email


class KeyPatch(fields.Body):
    """Changes of an API key."""

    name: fields.Name | None = None
    expires_at: fields.Instant | None = None


class KeyCreate(KeyPatch):
    """An API key to create, in the team of the user."""

    user_id: UUID


class AliasFields(fields.Body):
    """What a team calls a model, and what that is."""

    alias: fields.Alias = ""
    target: fields.TargetModel = ""
    provider: fields.Provider = ""
    tags: fields.Tags = ()
    parameters: fields.Parameters = Field(default={})


class AliasPatch(AliasFields):
    """Changes of an alias. With a `version` they are refused if it is no longer at that one."""

    version: fields.Positive | None = None


class AliasCreate(AliasFields):
    """An alias to create."""

    team_id: UUID
    alias: fields.Alias
    target: fields.TargetModel
    provider: fields.Provider


class QuotaPatch(fields.Body):
    """Changes of a quota."""

    requests_per_minute: fields.Amount = 0
    tokens_per_minute: fields.Amount = 0


class QuotaCreate(QuotaPatch):
    """A quota to create."""

    team_id: UUID
    requests_per_minute: fields.Amount
    tokens_per_minute: fields.Amount


class TargetBody(fields.Body):
    """A model as its provider knows it."""

    provider: fields.Provider
    model: fields.Model


def _example() -> dict[str, Any]:
    """Return what holds by default: who tries it out removes no model."""
    return {name: value for name, value in asdict(domain.Config()).items() if name != "version"}


class ConfigBody(fields.Body):
    """What is to hold for all teams, as a whole: models that it leaves out are gone."""

    model_config = ConfigDict(json_schema_extra={"example": _example()})

    models: dict[fields.Model, TargetBody] = Field(max_length=1000)
    prices: dict[fields.Model, fields.Amount] = Field(max_length=1000)
    requests_per_minute: fields.Amount
    tokens_per_minute: fields.Amount
    max_tokens: fields.Positive | None = None

    @model_validator(mode="after")
    def _priced(self) -> Self:
        if missing := {target.model for target in self.models.values()} - set(self.prices):
            raise errors.InvalidError("prices", f"lacks {min(missing)}; a model that is free has 0")
        return self

    def config(self) -> domain.Config:
        """Return it as the domain knows it."""
        models = {name: domain.Target(**dict(target)) for name, target in self.models.items()}
        return domain.Config(**{**dict(self), "models": models})
