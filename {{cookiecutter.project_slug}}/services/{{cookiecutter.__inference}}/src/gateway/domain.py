"""The entities of the gateway, and the rules for their values. No I/O.

`New...` has the fields that are set on creation, `...` is the stored entity. The rules in the types
are for input from clients. Stored entities are not validated, so that old ones survive new rules.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, Field, NonNegativeInt, TypeAdapter, WithJsonSchema

from servicebase import values
from servicebase.repository import Entity

from . import errors

NAME_LENGTH = 200
EMAIL_LENGTH = 254  # RFC 5321, 4.5.3.1.3, less the angle brackets
EMAIL_PATTERN = re.compile(r"[^@\s\x00-\x1f\x7f\ud800-\udfff]+@[a-z0-9-]+(\.[a-z0-9-]+)+")
INTEGER_LIMIT = 2**31 - 1  # of PostgreSQL's integer
MICROCENTS = 1_000_000  # in a cent


def check_email(value: str) -> str:
    """Return `value` in its canonical form: lower case, since case never distinguishes people.

    Raise InvalidError if it is not an address. Whether it exists, only an email to it can tell.
    """
    email = values.canonical(value).lower()
    if len(email) > EMAIL_LENGTH or not EMAIL_PATTERN.fullmatch(email):
        raise errors.InvalidError("email", "must be an address such as ann@example.org")
    return email


# Upper case is accepted, too; surrogates are left out, since some regex engines reject them.
_TYPED = EMAIL_PATTERN.pattern.replace(r"\ud800-\udfff", "").replace("a-z", "A-Za-z")
Email = Annotated[
    str,
    AfterValidator(check_email),
    # Not `format: email`: RFC 5322 allows many addresses that nobody has.
    WithJsonSchema({"type": "string", "pattern": f"^{_TYPED}$", "maxLength": EMAIL_LENGTH}),
]
Name = Annotated[str, values.Text(NAME_LENGTH)]
Amount = Annotated[int, Field(strict=True, ge=0, le=INTEGER_LIMIT)]
Positive = Annotated[int, Field(strict=True, ge=1, le=INTEGER_LIMIT)]
ModelName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]{0,99}$")]
Provider = Annotated[str, Field(max_length=100)]
Role = Literal["member", "admin"]
"""Role of a user in their team; the gateway itself does not use it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTeam:
    """A new team, which pays for its requests. Names are unique."""

    name: Name
    budget_cents: Amount = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Team(NewTeam, Entity):
    """A team, and what it has spent or reserved for requests in flight."""

    spent_microcents: int = 0

    @property
    def spent_cents(self) -> float:
        """Return the amount spent in cents."""
        return self.spent_microcents / MICROCENTS


@dataclass(frozen=True, slots=True, kw_only=True)
class NewUser:
    """A new user of a team, who cannot log in without a password. Emails are unique."""

    team_id: UUID
    email: Email
    role: Role = "member"
    password_hash: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class User(NewUser, Entity):
    """A user."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewApiKey:
    """A new API key of a program. The key itself is not stored; hashes are unique."""

    team_id: UUID
    user_id: UUID
    hash: str = field(repr=False)
    prefix: str
    """Beginning of the key, by which its owner recognises it."""
    name: Name | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey(NewApiKey, Entity):
    """An API key, with only the beginning of the key itself."""

    revoked_at: datetime | None = None

    def good(self, now: datetime) -> bool:
        """Return whether the key is valid at this time."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


@dataclass(frozen=True, slots=True)
class Session:
    """A login session. The token itself is not stored."""

    hash: str = field(repr=False)
    user_id: UUID
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class NewModelAlias:
    """A team's own name for a model. Names are unique within a team."""

    team_id: UUID
    alias: ModelName
    target: ModelName
    """The provider's name for the model."""
    provider: Provider
    tags: values.Tags = ()
    parameters: values.JsonObject = field(default_factory=dict)
    """Defaults of the parameters of requests, such as `temperature`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelAlias(NewModelAlias, Entity):
    """An alias. Each update makes a new version; the older ones stay readable."""

    version: int = 1


@dataclass(frozen=True, slots=True)
class Limits:
    """Maximum usage in any sixty seconds."""

    requests: int
    tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NewQuota:
    """A new quota of a team. A team has at most one."""

    team_id: UUID
    requests_per_minute: Amount
    tokens_per_minute: Amount


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota(NewQuota, Entity):
    """A quota."""


@dataclass(frozen=True, slots=True)
class Target:
    """A provider and its name for a model."""

    provider: str
    model: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Configuration of all teams, which may change while the gateway is running."""

    version: int = 0
    """Number that every new config increases."""
    models: Mapping[str, Target] = field(default_factory=lambda: {"echo": Target("echo", "echo")})
    """Models of every team, unless an alias of the team hides one."""
    prices: Mapping[str, int] = field(default_factory=lambda: {"echo": 0})
    """Microcents per token, by the provider's name for a model; others are not available."""
    requests_per_minute: int = 6_000
    """Limit of a team without a quota, like `tokens_per_minute`."""
    tokens_per_minute: int = 1_000_000
    max_tokens: int | None = None
    """Limit of a completion whose request sets none; None for as many as the model makes."""

    @property
    def limits(self) -> Limits:
        """Return the limits of a team without a quota."""
        return Limits(self.requests_per_minute, self.tokens_per_minute)


CONFIG = TypeAdapter(Config)
"""Adapter that reads and writes a Config as JSON."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens used by a completion."""

    prompt_tokens: NonNegativeInt
    completion_tokens: NonNegativeInt

    @property
    def total(self) -> int:
        """Return the total number of tokens."""
        return self.prompt_tokens + self.completion_tokens
