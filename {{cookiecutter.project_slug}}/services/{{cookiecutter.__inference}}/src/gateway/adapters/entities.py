"""Describe each entity that a database keeps, wherever it keeps them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar, get_args
from uuid import UUID

from servicebase import repository

from .. import domain

New = TypeVar("New")
Kept = TypeVar("Kept", bound=repository.Entity)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entity(Generic[New, Kept]):
    """One entity. Fields are named as in `kept`."""

    name: str
    """What clients call it."""
    kept: type[Kept]
    owners: Mapping[str, str]
    """By which field it belongs to another entity; teams and users belong to themselves."""
    unique: tuple[str, ...]
    """No two have the same in all of these fields; the last is the one that is to blame."""
    searched: tuple[str, ...] = ()
    """What a search looks into: for texts that begin so, and for whole tags."""
    rules: Mapping[str, Callable[[Any], bool]] = field(default_factory=dict)
    """What the database itself asks of the values of fields."""


def not_negative(value: int) -> bool:
    """Return whether an amount is one."""
    return value >= 0


TEAM: Entity[domain.NewTeam, domain.Team] = Entity(
    name="team",
    kept=domain.Team,
    owners={"team": "id"},
    unique=("name",),
    searched=("name",),
    rules={"budget_cents": not_negative},
)
USER: Entity[domain.NewUser, domain.User] = Entity(
    name="user",
    kept=domain.User,
    owners={"team": "team_id", "user": "id"},
    unique=("email",),
    searched=("email",),
    rules={"role": get_args(domain.Role).__contains__},
)
API_KEY: Entity[domain.NewApiKey, domain.ApiKey] = Entity(
    name="API key",
    kept=domain.ApiKey,
    owners={"team": "team_id", "user": "user_id"},
    unique=("hash",),
    searched=("name", "prefix"),
)
ALIAS: Entity[domain.NewModelAlias, domain.ModelAlias] = Entity(
    name="alias",
    kept=domain.ModelAlias,
    owners={"team": "team_id"},
    unique=("team_id", "alias"),
    searched=("alias", "tags"),
)
QUOTA: Entity[domain.NewQuota, domain.Quota] = Entity(
    name="quota",
    kept=domain.Quota,
    owners={"team": "team_id"},
    unique=("team_id",),
    rules={"requests_per_minute": not_negative, "tokens_per_minute": not_negative},
)


def owners(team: UUID | None, user: UUID | None) -> dict[str, UUID]:
    """Return the ids of owners that were given, by their names."""
    given = {TEAM.name: team, USER.name: user}
    return {owner: id_ for owner, id_ in given.items() if id_ is not None}
