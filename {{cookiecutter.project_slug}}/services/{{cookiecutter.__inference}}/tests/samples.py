"""Samples of each kind of entity, with their owners."""

from dataclasses import asdict, dataclass, fields
from typing import Any
from uuid import uuid4

from stratakit.testing import contracts

from gateway.accounts import Issued, Keys
from gateway.domain import ApiKey, NewApiKey, NewModelAlias, NewQuota, NewTeam, NewUser, Team, User
from gateway.ports import Database


@dataclass(frozen=True)
class Sample:
    """Kind of entity, with methods that make samples of it."""

    kind: str
    """Name of its repository in Database."""
    new: type[Any]
    known_by: str
    """Field with its name for people, which a search matches."""
    unique: str
    """Field that ConflictError names for a duplicate."""

    def among(self, database: Database) -> Any:
        """Return the repository of this kind."""
        return getattr(database, self.kind)

    async def one(self, database: Database, text: str, **given: Any) -> Any:
        """Return a new entity with this name; its owners are created unless they are given."""
        if self.kind == "keys" and "user_id" not in given:
            owner = await user(database)
            given |= {"user_id": owner.id, "team_id": owner.team_id}
        elif self.kind != "teams" and "team_id" not in given:
            given |= {"team_id": (await team(database)).id}
        return self._filled({"hash": uuid4().hex, self.known_by: text, **given})

    def other(self, stored: Any) -> dict[str, Any]:
        """Return a value for each field that differs from the stored one, except for the owners."""
        owners = {name: getattr(stored, name, None) for name in ("team_id", "user_id")}
        return asdict(self._filled({"parameters": {"stop": ["\n", None]}, **owners}, stored))

    def _filled(self, given: dict[str, Any], unlike: Any = None) -> Any:
        # The type does not tell which JSON is allowed.
        given = {"parameters": {"deep": [1, None]}, **given}
        names = {field.name for field in fields(self.new)}
        return contracts.filled(self.new, unlike, **{n: given[n] for n in names & given.keys()})

    async def add(self, database: Database, *texts: str, **given: Any) -> list[Any]:
        """Add one entity for each name."""
        news = [await self.one(database, text, **given) for text in texts]
        return [await self.among(database).add(uuid4(), new) for new in news]


SAMPLES = {
    "teams": Sample("teams", NewTeam, "name", "name"),
    "users": Sample("users", NewUser, "email", "email"),
    "keys": Sample("keys", NewApiKey, "name", "hash"),
    "aliases": Sample("aliases", NewModelAlias, "alias", "alias"),
    "quotas": Sample("quotas", NewQuota, "", "team_id"),
}


async def team(database: Database, cents: int = 100) -> Team:
    new = NewTeam(name=uuid4().hex, budget_cents=cents)
    return await database.teams.add(uuid4(), new)


async def user(database: Database) -> User:
    return await database.register(NewTeam(name=uuid4().hex), uuid4().hex, "secret")


async def key(database: Database, of: User | None = None, issued: Issued | None = None) -> ApiKey:
    of, issued = of or await user(database), issued or Keys(uuid4().hex).issue()
    new = NewApiKey(team_id=of.team_id, user_id=of.id, hash=issued.hash, prefix=issued.prefix)
    return await database.keys.add(uuid4(), new)
