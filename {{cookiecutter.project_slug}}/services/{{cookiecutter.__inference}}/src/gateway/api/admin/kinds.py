"""What differs between the kinds of things that administrators manage."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from ... import accounts, domain, errors
from ...ports import Collection, Database, Ports
from .. import fields, views
from ..credentials import Credentials
from . import bodies

Values = Callable[[Any, Ports, Credentials], Awaitable[dict[str, Any]]]
Make = Callable[["Kind", Any, Ports, Credentials], Awaitable[Any]]


async def _sent(body: fields.Body, *_: object) -> dict[str, Any]:
    return body.model_dump(exclude_unset=True)


async def _user_values(
    body: bodies.UserPatch, _: Ports, credentials: Credentials
) -> dict[str, Any]:
    values = body.model_dump(exclude_unset=True)
    if "password" in values:
        password = values.pop("password")
        values["password_hash"] = password and await credentials.passwords.hash(password)
    return values


async def _alias_values(body: bodies.AliasFields, ports: Ports, _: Credentials) -> dict[str, Any]:
    if "provider" in body.model_fields_set:
        fields.check_provider(ports.backends, body.provider)
    return body.model_dump(exclude_unset=True, exclude={"version"})


async def _make(kind: "Kind", body: Any, ports: Ports, credentials: Credentials) -> object:
    new = kind.new(**await kind.values(body, ports, credentials))
    return await kind.collection(ports.database).create(new)


async def _make_key(
    _: "Kind", body: bodies.KeyCreate, ports: Ports, credentials: Credentials
) -> object:
    try:
        user = await ports.database.users.get(body.user_id)
    except errors.NotFoundError as error:
        raise errors.DanglingError("user_id") from error
    return views.IssuedKey.of(
        *await accounts.issue_key(
            ports.database, credentials.keys, user, name=body.name, expires_at=body.expires_at
        )
    )


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind."""

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


TEAMS = Kind(
    name="team",
    plural="teams",
    collection=lambda database: database.teams,
    new=domain.NewTeam,
    create=bodies.TeamCreate,
    patch=bodies.TeamPatch,
    view=views.Team,
)
USERS = Kind(
    name="user",
    plural="users",
    collection=lambda database: database.users,
    new=domain.NewUser,
    create=bodies.UserCreate,
    patch=bodies.UserPatch,
    view=views.User,
    values=_user_values,
)
KEYS = Kind(
    name="key",
    plural="keys",
    collection=lambda database: database.keys,
    new=domain.NewApiKey,
    create=bodies.KeyCreate,
    patch=bodies.KeyPatch,
    view=views.Key,
    made=views.IssuedKey,
    make=_make_key,
)
ALIASES = Kind(
    name="alias",
    plural="aliases",
    collection=lambda database: database.aliases,
    new=domain.NewModelAlias,
    create=bodies.AliasCreate,
    patch=bodies.AliasPatch,
    view=domain.ModelAlias,
    values=_alias_values,
)
QUOTAS = Kind(
    name="quota",
    plural="quotas",
    collection=lambda database: database.quotas,
    new=domain.NewQuota,
    create=bodies.QuotaCreate,
    patch=bodies.QuotaPatch,
    view=domain.Quota,
)
KINDS = (TEAMS, USERS, KEYS, ALIASES, QUOTAS)
