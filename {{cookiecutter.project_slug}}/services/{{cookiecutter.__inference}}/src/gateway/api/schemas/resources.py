"""Request and response bodies of the resources. None of them contains a hash."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, BaseModel, Field, create_model, model_validator

from servicebase.repository import Repository

from ... import accounts, domain, errors
from ...domain import Amount, Email, ModelName, Name, Positive, Provider
from ...ports import Database
from .fields import Body, Instant, Password, example, sent, shown

TeamCreate = sent("TeamCreate", "A team to create.", domain.NewTeam)
TeamPatch = sent("TeamPatch", "Changes to a team.", domain.NewTeam, patch=True)
Team = shown(domain.Team, {"spent_microcents"}, spent_cents=(float, ...))

UserCreate = sent(
    "UserCreate",
    "A user to create. Without a password they cannot log in.",
    domain.NewUser,
    {"password_hash"},
    password=(Password | None, None),
)
UserPatch = sent(
    "UserPatch",
    "Changes to a user.\n\nA new password ends their sessions. Null also revokes their keys, and"
    " they can no longer log in.",
    domain.NewUser,
    {"team_id", "password_hash"},
    patch=True,
    password=(Password | None, None),
)
User = shown(domain.User, {"password_hash"})


class OwnKey(Body):
    """An API key to create."""

    name: Name | None = None
    expires_at: Instant | None = None


class KeyPatch(OwnKey):
    """Changes to an API key."""


class KeyCreate(OwnKey):
    """An API key to create for a user, in their team."""

    user_id: UUID


Key = shown(domain.ApiKey, {"hash"})
IssuedKey = create_model("IssuedKey", __base__=Key, key=(str, ...))

AliasCreate = sent("AliasCreate", "An alias to create.", domain.NewModelAlias)
AliasPatch = sent(
    "AliasPatch",
    "Changes to an alias, which create a new version.\n\nWith a `version`, they are refused if the"
    " alias is no longer at that version.",
    domain.NewModelAlias,
    {"team_id"},
    patch=True,
    version=(Positive | None, None),
)
ModelAlias = shown(domain.ModelAlias)

QuotaCreate = sent("QuotaCreate", "A quota to create.", domain.NewQuota)
QuotaPatch = sent("QuotaPatch", "Changes to a quota.", domain.NewQuota, {"team_id"}, patch=True)
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
    Resource("key", "keys", Key, KeyPatch),
    Resource("alias", "aliases", ModelAlias, AliasPatch, AliasCreate, domain.NewModelAlias),
    Resource("quota", "quotas", Quota, QuotaPatch, QuotaCreate, domain.NewQuota),
)


class TargetBody(Body):
    """A provider and its name for a model."""

    provider: Provider
    model: ModelName


class ConfigBody(Body):
    """The config of all teams, as a whole: models that are left out are removed."""

    # The default config, so that trying out the example removes no model.
    model_config = example(**domain.CONFIG.dump_python(domain.Config(), exclude={"version"}))

    models: dict[ModelName, TargetBody] = Field(max_length=1000)
    prices: dict[ModelName, Amount] = Field(max_length=1000)
    requests_per_minute: Amount
    tokens_per_minute: Amount
    max_tokens: Positive | None = None

    @model_validator(mode="after")
    def _priced(self) -> Self:
        if missing := {target.model for target in self.models.values()} - set(self.prices):
            raise errors.InvalidError("prices", f"lacks {min(missing)}; use 0 for a free model")
        return self

    def config(self) -> domain.Config:
        """Return it as the domain's Config."""
        return domain.CONFIG.validate_python(self.model_dump())


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
