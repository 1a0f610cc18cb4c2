"""Something of each kind, with what it belongs to."""

from dataclasses import asdict, dataclass, fields
from typing import Any
from uuid import uuid4

from stratakit.testing import contracts

from gateway import domain
from gateway.ports import ApiKeys, Database

WORDS: dict[str, tuple[Any, Any]] = {
    "role": ("member", "admin"),
    "parameters": ({"deep": [1, None]}, {"stop": ["\n", None]}),
}
"""Values that a type cannot tell: of one that is added, and of one that is changed."""


@dataclass(frozen=True)
class Sample:
    """One kind, and how to make some of it."""

    kind: str
    """The name of the collection."""
    new: type[Any]
    known_by: str
    """The field by which people know one, and search for it."""
    unique: str
    """The field that is to blame when two are the same."""

    def among(self, database: Database) -> Any:
        """Return the collection."""
        return getattr(database, self.kind)

    async def one(self, database: Database, text: str, **given: Any) -> Any:
        """Return what can be added, known by a text; its owners are new, unless they are given."""
        needed = {"team_id", "user_id"} & self._names() - set(given)
        if "user_id" in needed:
            owner = await user(database)
            given |= {"user_id": owner.id, "team_id": owner.team_id}
        elif needed:
            given |= {"team_id": (await team(database)).id}
        given = {"hash": uuid4().hex, self.known_by: text, **given}
        return self._filled(0, given)

    def other(self, stored: Any) -> dict[str, Any]:
        """Return values of all fields that differ from those of one that is stored."""
        owners = {name: getattr(stored, name) for name in self._names() if name.endswith("_id")}
        return asdict(self._filled(1, owners, unlike=stored))

    def _names(self) -> set[str]:
        return {field.name for field in fields(self.new)}

    def _filled(self, number: int, given: dict[str, Any], unlike: Any = None) -> Any:
        words = {name: pair[number] for name, pair in WORDS.items()} | given
        known = {name: words[name] for name in words.keys() & self._names()}
        return contracts.filled(self.new, unlike, **known)

    async def add(self, database: Database, *texts: str, **given: Any) -> list[Any]:
        """Add one for each text."""
        news = [await self.one(database, text, **given) for text in texts]
        return [await self.among(database).add(uuid4(), new) for new in news]


SAMPLES = {
    "teams": Sample("teams", domain.NewTeam, "name", "name"),
    "users": Sample("users", domain.NewUser, "email", "email"),
    "keys": Sample("keys", domain.NewApiKey, "name", "hash"),
    "aliases": Sample("aliases", domain.NewModelAlias, "alias", "alias"),
    "quotas": Sample("quotas", domain.NewQuota, "", "team_id"),
}


async def team(database: Database) -> domain.Team:
    return await database.teams.add(uuid4(), domain.NewTeam(name=uuid4().hex, budget_cents=100))


async def user(database: Database, password_hash: str | None = None) -> domain.User:
    new = domain.NewUser(
        team_id=(await team(database)).id, email=uuid4().hex, password_hash=password_hash
    )
    return await database.users.add(uuid4(), new)


async def key(keys: ApiKeys, of: domain.User) -> domain.ApiKey:
    new = domain.NewApiKey(team_id=of.team_id, user_id=of.id, hash=uuid4().hex, prefix="sk-")
    return await keys.add(uuid4(), new)
