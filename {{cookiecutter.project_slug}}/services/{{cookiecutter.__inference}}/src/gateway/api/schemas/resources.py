"""Request and response bodies of the resources. None of them contains a hash."""

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self, get_type_hints
from uuid import UUID

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    Field,
    create_model,
    model_validator,
)

from servicebase.repository import Repository

from ... import accounts, domain, errors
from ...accounts import Password
from ...domain import Amount, Email, ModelName, Name, Positive
from ...ports import Database
from . import Body, example

_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")


def _text(value: object) -> object:
    # pydantic would also accept numbers, as seconds since the epoch.
    if not isinstance(value, str) or not _RFC_3339.fullmatch(value):
        raise ValueError("must be a time such as 2030-01-31T12:00:00Z")
    return value


def _utc(value: datetime) -> datetime:
    try:
        return value.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("is too far from now") from error


Instant = Annotated[AwareDatetime, BeforeValidator(_text), AfterValidator(_utc)]


def sent(
    name: str, kind: type, but: Collection[str] = (), *, patch: str = "", **more: Any
) -> type[Body]:
    """Return a model of a request body with the fields of a dataclass and their rules.

    In a patch, which `patch` describes, all are optional. Their defaults are never used: fields
    that are not sent stay.
    """
    hints = get_type_hints(kind, include_extras=True)
    left_out: Any = Field(default_factory=list)
    found: dict[str, Any] = {
        each.name: (hints[each.name], left_out if patch else each)
        for each in fields(kind)
        if each.name not in but
    }
    return create_model(name, __base__=Body, __doc__=patch or kind.__doc__, **found, **more)


def shown(kind: type, but: Collection[str] = (), **more: Any) -> type[BaseModel]:
    """Return a model of a response body with the fields of a dataclass.

    Without their rules, so that data which is older than a rule can still be shown.
    """
    hints = get_type_hints(kind).items()
    found: dict[str, Any] = {each: (hint, ...) for each, hint in hints if each not in but} | more
    return create_model(kind.__name__, __doc__=kind.__doc__, **found)


TeamCreate = sent("TeamCreate", domain.NewTeam)
TeamPatch = sent("TeamPatch", domain.NewTeam, patch="Changes to a team.")
Team = shown(domain.Team, {"spent_microcents"}, spent_cents=(float, ...))

password = (Password | None, None)
UserCreate = sent("UserCreate", domain.NewUser, {"password_hash"}, password=password)
UserPatch = sent(
    "UserPatch",
    domain.NewUser,
    {"team_id", "password_hash"},
    patch="Changes to a user.\n\nA new password ends their sessions. Null also revokes their keys,"
    " and they can no longer log in.",
    password=password,
)
User = shown(domain.User, {"password_hash"})


class KeyBody(Body):
    """The name and the expiry of an API key."""

    name: Name | None = None
    expires_at: Instant | None = None


class KeyCreate(KeyBody):
    """An API key to create for a user, in their team."""

    user_id: UUID


Key = shown(domain.ApiKey, {"hash"})
IssuedKey = create_model("IssuedKey", __base__=Key, key=(str, ...))

AliasCreate = sent("AliasCreate", domain.NewModelAlias)
AliasPatch = sent(
    "AliasPatch",
    domain.NewModelAlias,
    {"team_id"},
    patch="Changes to an alias, which create a new version.\n\nWith a `version`, they are refused"
    " if the alias is no longer at that version.",
    version=(Positive | None, None),
)
ModelAlias = shown(domain.ModelAlias)

QuotaCreate = sent("QuotaCreate", domain.NewQuota)
QuotaPatch = sent("QuotaPatch", domain.NewQuota, {"team_id"}, patch="Changes to a quota.")
Quota = shown(domain.Quota)


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind of resource, and the models of its bodies."""

    name: str
    plural: str
    """Name of its repository in Database."""
    shown: type
    patch: type[Body]
    create: type[Body] | None = None
    """None for keys, which are issued."""
    new: Callable[..., Any] = dict
    """Callable that makes what the repository stores from a body's values."""
    team: str = "team_id"
    """Field with the id of its team."""

    def among(self, database: Database) -> Repository[Any, Any, Any]:
        """Return the repository of this resource."""
        found: Repository[Any, Any, Any] = getattr(database, self.plural)
        return found


RESOURCES = (
    Resource("team", "teams", Team, TeamPatch, TeamCreate, domain.NewTeam, "id"),
    Resource("user", "users", User, UserPatch, UserCreate, domain.NewUser),
    Resource("key", "keys", Key, KeyBody),
    Resource("alias", "aliases", ModelAlias, AliasPatch, AliasCreate, domain.NewModelAlias),
    Resource("quota", "quotas", Quota, QuotaPatch, QuotaCreate, domain.NewQuota),
)


class ConfigBody(Body):
    """The config of all teams, as a whole: models that are left out are removed."""

    # The default config, so that trying out the example removes no model.
    model_config = example(**domain.CONFIG.dump_python(domain.Config(), exclude={"version"}))

    models: dict[ModelName, domain.Target] = Field(max_length=1000)
    prices: dict[ModelName, Amount] = Field(max_length=1000)
    requests_per_minute: Amount
    tokens_per_minute: Amount
    max_tokens: Positive | None = None

    @model_validator(mode="after")
    def _priced(self) -> Self:
        if missing := {target.model for target in self.models.values()} - set(self.prices):
            raise errors.InvalidError("prices", f"lacks {min(missing)!r}; use 0 for a free model")
        return self


class Register(Body):
    """A team to create, and its first user."""

    team: Name
    email: Email
    password: Password


class Login(Body):
    """Credentials of a user."""

    email: Email
    # Of any length: the rules for new passwords may have become stricter.
    password: Annotated[str, AfterValidator(lambda value: accounts.check_password(value, least=0))]


class SessionToken(BaseModel):
    """A token for the routes of /auth, until it expires."""

    token: str
    token_type: Literal["bearer"] = "bearer"  # noqa: S105 - the name of a scheme
    expires_at: datetime


Account = create_model(
    "Account", __doc__="A user and their team.", user=(User, ...), team=(Team, ...)
)
