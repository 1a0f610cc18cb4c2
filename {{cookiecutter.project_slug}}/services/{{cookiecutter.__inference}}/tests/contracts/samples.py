"""Something of each kind, with what it belongs to."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from stratakit.testing import contracts

from gateway import domain
from gateway.ports import Collection, Database


async def team(database: Database) -> domain.Team:
    return await database.teams.create(domain.NewTeam(name=uuid4().hex, budget_cents=100))


async def user(database: Database) -> domain.User:
    return await database.users.create(await _new_user(database, uuid4().hex))


async def _new_team(_: Database, text: str) -> domain.NewTeam:
    return contracts.filled(domain.NewTeam, name=text)


async def _new_user(database: Database, text: str) -> domain.NewUser:
    owner = await team(database)
    return contracts.filled(domain.NewUser, team_id=owner.id, email=text)


async def _new_key(database: Database, text: str) -> domain.NewApiKey:
    owner = await user(database)
    whose = {"team_id": owner.team_id, "user_id": owner.id}
    return contracts.filled(domain.NewApiKey, **whose, hash=uuid4().hex, name=text)


async def _new_alias(database: Database, text: str) -> domain.NewModelAlias:
    owner = await team(database)
    return contracts.filled(domain.NewModelAlias, team_id=owner.id, alias=text)


async def _new_quota(database: Database, _: str) -> domain.NewQuota:
    owner = await team(database)
    return contracts.filled(domain.NewQuota, team_id=owner.id)


@dataclass(frozen=True)
class Sample:
    """How to make some of one kind, and what to do with them."""

    kind: str
    """The name of the collection."""
    new: Callable[[Database, str], Awaitable[Any]]
    """Makes one that can be created; the text is what people know it by, if they do."""
    changes: Mapping[str, Any]
    unique: str
    """The field that is to blame when two are the same."""

    def among(self, database: Database) -> Collection[Any, Any]:
        found: Collection[Any, Any] = getattr(database, self.kind)
        return found

    async def create(self, database: Database, *texts: str) -> list[Any]:
        return [await self.among(database).create(await self.new(database, text)) for text in texts]


SAMPLES = [
    Sample("teams", _new_team, {"name": "other", "budget_cents": 7}, "name"),
    Sample("users", _new_user, {"role": "admin", "password_hash": None}, "email"),
    Sample("keys", _new_key, {"name": None}, "hash"),
    Sample("aliases", _new_alias, {"tags": (), "parameters": {"stop": ["\n", None]}}, "alias"),
    Sample("quotas", _new_quota, {"tokens_per_minute": 0}, "team_id"),
]


def of(kind: str) -> Sample:
    return next(sample for sample in SAMPLES if sample.kind == kind)
