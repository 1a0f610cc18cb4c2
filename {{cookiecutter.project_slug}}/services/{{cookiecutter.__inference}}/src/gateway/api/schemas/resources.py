"""What clients send and are shown of each kind. No hash is among it."""

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
TeamPatch = sent("TeamPatch", "Changes of a team.", domain.NewTeam, patch=True)
Team = shown(domain.Team, {"spent_microcents"}, spent_cents=(float, ...))

UserCreate = sent(
    "UserCreate",
    "A user to create, who can log in if there is a password.",
    domain.NewUser,
    {"password_hash"},
    password=(Password | None, None),
)
UserPatch = sent(
    "UserPatch",
    "Changes of a user.\n\nA new password ends their sessions. With null they can no longer log in:"
    " it revokes their keys, too.",
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
    """Changes of an API key."""


class KeyCreate(OwnKey):
    """An API key to create, in the team of the user."""

    user_id: UUID


Key = shown(domain.ApiKey, {"hash"})
IssuedKey = create_model("IssuedKey", __base__=Key, key=(str, ...))

AliasCreate = sent("AliasCreate", "An alias to create.", domain.NewModelAlias)
AliasPatch = sent(
    "AliasPatch",
    "Changes of an alias, which make a new version.\n\nWith a `version` they are refused if it is"
    " no longer at that one.",
    domain.NewModelAlias,
    {"team_id"},
    patch=True,
    version=(Positive | None, None),
)
ModelAlias = shown(domain.ModelAlias)

QuotaCreate = sent("QuotaCreate", "A quota to create.", domain.NewQuota)
QuotaPatch = sent("QuotaPatch", "Changes of a quota.", domain.NewQuota, {"team_id"}, patch=True)
Quota = shown(domain.Quota)


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind, and what is shown and sent of it."""

    name: str
    plural: str
    """As the database calls all of them."""
    shown: type
    patch: type[Body]
    create: type[Body] | None = None
    """None for keys, which are issued."""
    new: Callable[..., Any] = dict
    """What the database creates one of."""
    team: str = "team_id"
    """The field by which one belongs to a team."""

    def among(self, database: Database) -> Repository[Any, Any, Any]:
        """Return all of them."""
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
    """A model as its provider knows it."""

    provider: Provider
    model: ModelName


class ConfigBody(Body):
    """What is to hold for all teams, as a whole: models that it leaves out are gone."""

    # What holds by default: who tries it out removes no model.
    model_config = example(**domain.CONFIG.dump_python(domain.Config(), exclude={"version"}))

    models: dict[ModelName, TargetBody] = Field(max_length=1000)
    prices: dict[ModelName, Amount] = Field(max_length=1000)
    requests_per_minute: Amount
    tokens_per_minute: Amount
    max_tokens: Positive | None = None

    @model_validator(mode="after")
    def _priced(self) -> Self:
        if missing := {target.model for target in self.models.values()} - set(self.prices):
            raise errors.InvalidError("prices", f"lacks {min(missing)}; a model that is free has 0")
        return self

    def config(self) -> domain.Config:
        """Return it as the domain knows it."""
        return domain.CONFIG.validate_python(self.model_dump())


class Register(Body):
    """A team to create, and its first user."""

    team: Name
    email: Email
    password: Password


class Login(Body):
    """Who wants a session token."""

    email: Email
    # However short: rules for new passwords may be stricter than they were.
    password: Annotated[str, AfterValidator(lambda value: accounts.check_password(value, least=0))]


class SessionToken(BaseModel):
    """What opens /auth for a while."""

    token: str
    token_type: Literal["bearer"] = "bearer"  # noqa: S105 - the name of a scheme
    expires_at: datetime


Account = create_model(
    "Account", __doc__="Somebody, and their team.", user=(User, ...), team=(Team, ...)
)
