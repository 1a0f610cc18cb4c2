"""What differs between the resources that administrators manage."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from ... import accounts, domain, errors
from ...ports import Collection, Database, Ports
from ..credentials import Credentials
from ..schemas import fields, requests, responses

Values = Callable[[Any, Ports, Credentials], Awaitable[dict[str, Any]]]
Make = Callable[["AdminResource", Any, Ports, Credentials], Awaitable[Any]]


async def _sent(body: fields.Body, *_: object) -> dict[str, Any]:
    return body.model_dump(exclude_unset=True)


async def _user_values(
    body: requests.UserPatch, _: Ports, credentials: Credentials
) -> dict[str, Any]:
    values = body.model_dump(exclude_unset=True)
    if "password" in values:
        password = values.pop("password")
        values["password_hash"] = password and await credentials.passwords.hash(password)
    return values


async def _alias_values(body: requests.AliasFields, ports: Ports, _: Credentials) -> dict[str, Any]:
    if "provider" in body.model_fields_set:
        fields.check_provider(ports.backends, body.provider)
    return body.model_dump(exclude_unset=True, exclude={"version"})


async def _make(
    resource: "AdminResource", body: Any, ports: Ports, credentials: Credentials
) -> object:
    new = resource.new(**await resource.values(body, ports, credentials))
    return await resource.collection(ports.database).create(new)


async def _make_key(
    _: "AdminResource", body: requests.KeyCreate, ports: Ports, credentials: Credentials
) -> object:
    try:
        user = await ports.database.users.get(body.user_id)
    except errors.NotFoundError as error:
        raise errors.InvalidReferenceError("user_id") from error
    return responses.IssuedKey.of(
        *await accounts.issue_key(
            ports.database, credentials.keys, user, name=body.name, expires_at=body.expires_at
        )
    )


@dataclass(frozen=True, kw_only=True)
class AdminResource:
    """One resource."""

    name: str
    plural: str
    collection: Callable[[Database], Collection[Any, Any]]
    new: Callable[..., object]
    create: type[fields.Body]
    patch: type[fields.Body]
    view: Any
    """How one is shown,"""
    made: Any = None
    """and how it is shown when it is created, if that is another way."""
    values: Values = _sent
    """Returns what a body says, in the fields of the domain."""
    make: Make = _make
    """Creates one."""


TEAMS = AdminResource(
    name="team",
    plural="teams",
    collection=lambda database: database.teams,
    new=domain.NewTeam,
    create=requests.TeamCreate,
    patch=requests.TeamPatch,
    view=responses.Team,
)
USERS = AdminResource(
    name="user",
    plural="users",
    collection=lambda database: database.users,
    new=domain.NewUser,
    create=requests.UserCreate,
    patch=requests.UserPatch,
    view=responses.User,
    values=_user_values,
)
KEYS = AdminResource(
    name="key",
    plural="keys",
    collection=lambda database: database.keys,
    new=domain.NewApiKey,
    create=requests.KeyCreate,
    patch=requests.KeyPatch,
    view=responses.Key,
    made=responses.IssuedKey,
    make=_make_key,
)
ALIASES = AdminResource(
    name="alias",
    plural="aliases",
    collection=lambda database: database.aliases,
    new=domain.NewModelAlias,
    create=requests.AliasCreate,
    patch=requests.AliasPatch,
    view=domain.ModelAlias,
    values=_alias_values,
)
QUOTAS = AdminResource(
    name="quota",
    plural="quotas",
    collection=lambda database: database.quotas,
    new=domain.NewQuota,
    create=requests.QuotaCreate,
    patch=requests.QuotaPatch,
    view=domain.Quota,
)
RESOURCES = (TEAMS, USERS, KEYS, ALIASES, QUOTAS)
