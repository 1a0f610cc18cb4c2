"""The resources that administrators manage, and what each is made of."""

from typing import Any
from uuid import UUID

from ... import accounts, domain, errors
from ..schemas import fields, requests, responses
from .routes import Desk, DeskDep, Resource

TEAMS = Resource("team", "teams", lambda database: database.teams, shown=responses.Team)
USERS = Resource("user", "users", lambda database: database.users, shown=responses.User)
KEYS = Resource(
    "key", "keys", lambda database: database.keys, shown=responses.Key, made=responses.IssuedKey
)
ALIASES = Resource("alias", "aliases", lambda database: database.aliases, shown=domain.ModelAlias)
QUOTAS = Resource("quota", "quotas", lambda database: database.quotas, shown=domain.Quota)
RESOURCES = (TEAMS, USERS, KEYS, ALIASES, QUOTAS)


@TEAMS.created
async def create_team(body: requests.TeamCreate, desk: DeskDep) -> Any:
    """Create a team."""
    new = domain.NewTeam(**body.sent())
    return await desk.create(lambda: desk.ports.database.teams.create(new))


@TEAMS.updated
async def update_team(body: requests.TeamPatch, desk: DeskDep, team_id: UUID) -> Any:
    """Replace the fields that are sent, and return the whole."""
    return await desk.change(lambda: desk.ports.database.teams.update(team_id, body.sent()))


@USERS.created
async def create_user(body: requests.UserCreate, desk: DeskDep) -> Any:
    """Create a user, who can log in if there is a password."""
    new = domain.NewUser(**await _with_hash(body, desk))
    return await desk.create(lambda: desk.ports.database.users.create(new))


@USERS.updated
async def update_user(body: requests.UserPatch, desk: DeskDep, user_id: UUID) -> Any:
    """Replace the fields that are sent. A password ends sessions; null revokes the keys, too."""
    values = await _with_hash(body, desk)
    return await desk.change(lambda: desk.ports.database.users.update(user_id, values))


@KEYS.created
async def create_key(body: requests.KeyCreate, desk: DeskDep) -> Any:
    """Create an API key of a user. The key is shown this once."""
    try:
        user = await desk.ports.database.users.get(body.user_id)
    except errors.NotFoundError as error:
        raise errors.InvalidReferenceError("user_id") from error

    async def issue() -> responses.IssuedKey:
        keys = desk.credentials.keys
        return responses.IssuedKey.of(
            *await accounts.issue_key(desk.ports, keys, user, body.name, body.expires_at)
        )

    desk.response.headers["Cache-Control"] = "no-store"
    return await desk.create(issue)


@KEYS.updated
async def update_key(body: requests.KeyPatch, desk: DeskDep, key_id: UUID) -> Any:
    """Replace the fields that are sent, and return the whole."""
    return await desk.change(lambda: desk.ports.database.keys.update(key_id, body.sent()))


@ALIASES.created
async def create_alias(body: requests.AliasCreate, desk: DeskDep) -> Any:
    """Create an alias."""
    fields.check_provider(desk.ports.backends, body.provider)
    new = domain.NewModelAlias(**body.sent())
    return await desk.create(lambda: desk.ports.database.aliases.create(new))


@ALIASES.updated
async def update_alias(body: requests.AliasPatch, desk: DeskDep, alias_id: UUID) -> Any:
    """Make a new version with the fields that are sent, and return the whole."""
    if "provider" in body.model_fields_set:
        fields.check_provider(desk.ports.backends, body.provider)
    values = body.sent()
    seen = values.pop("version", None)
    aliases = desk.ports.database.aliases
    return await desk.change(lambda: aliases.update(alias_id, values, version=seen))


@QUOTAS.created
async def create_quota(body: requests.QuotaCreate, desk: DeskDep) -> Any:
    """Create the quota of a team."""
    new = domain.NewQuota(**body.sent())
    return await desk.create(lambda: desk.ports.database.quotas.create(new))


@QUOTAS.updated
async def update_quota(body: requests.QuotaPatch, desk: DeskDep, quota_id: UUID) -> Any:
    """Replace the fields that are sent, and return the whole."""
    return await desk.change(lambda: desk.ports.database.quotas.update(quota_id, body.sent()))


async def _with_hash(body: requests.UserPatch, desk: Desk) -> dict[str, Any]:
    """Return what was sent, with the hash of a password in its place."""
    values = body.sent()
    if "password" in values:
        password = values.pop("password")
        values["password_hash"] = password and await desk.credentials.passwords.hash(password)
    return values
