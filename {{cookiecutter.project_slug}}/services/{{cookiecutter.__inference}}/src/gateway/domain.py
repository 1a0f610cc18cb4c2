"""What a gateway keeps, and which values are good. No I/O.

`New...` is what the creator of one decides, `...` is one that exists. The rules in the types are
for what clients send. One that exists is not checked again, so that older ones outlive stricter
rules.
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
    """Return `value` in its canonical form: lower case, since nobody means two people by it.

    InvalidError says that it is no address. That it is somebody's, only a letter to it can tell.
    """
    email = values.canonical(value).lower()
    if len(email) > EMAIL_LENGTH or not EMAIL_PATTERN.fullmatch(email):
        raise errors.InvalidError("email", "must be an address such as ann@example.org")
    return email


# As it may be typed; and JSON has no lone surrogates, which not every engine knows in patterns.
_TYPED = EMAIL_PATTERN.pattern.replace(r"\ud800-\udfff", "").replace("a-z", "A-Za-z")
Email = Annotated[
    str,
    AfterValidator(check_email),
    # Not as a format: most of what RFC 5322 allows is no address of anybody.
    WithJsonSchema({"type": "string", "pattern": f"^{_TYPED}$", "maxLength": EMAIL_LENGTH}),
]
Name = Annotated[str, values.Text(NAME_LENGTH)]
Amount = Annotated[int, Field(strict=True, ge=0, le=INTEGER_LIMIT)]
Positive = Annotated[int, Field(strict=True, ge=1, le=INTEGER_LIMIT)]
ModelName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]{0,99}$")]
Provider = Annotated[str, Field(max_length=100)]
Role = Literal["member", "admin"]
"""What a user is to their team; nothing here is decided by it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTeam:
    """Who pays. Names are unique."""

    name: Name
    budget_cents: Amount = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Team(NewTeam, Entity):
    """A team, and what it has spent or set aside for requests at hand."""

    spent_microcents: int = 0

    @property
    def spent_cents(self) -> float:
        """Return the same in cents."""
        return self.spent_microcents / MICROCENTS


@dataclass(frozen=True, slots=True, kw_only=True)
class NewUser:
    """Who belongs to a team. Emails are unique."""

    team_id: UUID
    email: Email
    role: Role = "member"
    password_hash: str | None = field(default=None, repr=False)
    """None for one that cannot log in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class User(NewUser, Entity):
    """A user."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewApiKey:
    """What a program shows to be let in. The key itself is not stored; hashes are unique."""

    team_id: UUID
    user_id: UUID
    hash: str = field(repr=False)
    prefix: str
    """The beginning of the key, by which its owner recognises it."""
    name: Name | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey(NewApiKey, Entity):
    """An API key; of the key itself, only its beginning."""

    revoked_at: datetime | None = None

    def good(self, now: datetime) -> bool:
        """Return whether it lets one in at this time."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody who is logged in. The token itself is not stored."""

    hash: str = field(repr=False)
    user_id: UUID
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class NewModelAlias:
    """A team's own name for a model. Within a team names are unique."""

    team_id: UUID
    alias: ModelName
    target: ModelName
    """What the provider calls the model."""
    provider: Provider
    tags: values.Tags = ()
    parameters: values.JsonObject = field(default_factory=dict)
    """What a request gets that does not say otherwise, such as `temperature`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelAlias(NewModelAlias, Entity):
    """An alias. Each update makes a new version; the older ones stay readable."""

    version: int = 1


@dataclass(frozen=True, slots=True)
class Limits:
    """What may be used up in any sixty seconds."""

    requests: int
    tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NewQuota:
    """What a team may use. A team has one at most."""

    team_id: UUID
    requests_per_minute: Amount
    tokens_per_minute: Amount


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota(NewQuota, Entity):
    """A quota."""


@dataclass(frozen=True, slots=True)
class Target:
    """A model as its provider knows it."""

    provider: str
    model: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What holds for all teams, and may change while the gateway serves."""

    version: int = 0
    """Counted up by each publication."""
    models: Mapping[str, Target] = field(default_factory=lambda: {"echo": Target("echo", "echo")})
    """Models that every team has, unless an alias of its own hides one."""
    prices: Mapping[str, int] = field(default_factory=lambda: {"echo": 0})
    """Of a model, by its provider's name for it, in microcents a token; nobody gets any other."""
    requests_per_minute: int = 6_000
    """Of a team without a quota; as is the next."""
    tokens_per_minute: int = 1_000_000
    max_tokens: int | None = None
    """Of a completion whose request sets no limit; None for as many as the model makes."""

    @property
    def limits(self) -> Limits:
        """Return the quota of a team that has none of its own."""
        return Limits(self.requests_per_minute, self.tokens_per_minute)


CONFIG = TypeAdapter(Config)
"""What reads and writes one as JSON."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens that a completion took."""

    prompt_tokens: NonNegativeInt
    completion_tokens: NonNegativeInt

    @property
    def total(self) -> int:
        """Return all of them."""
        return self.prompt_tokens + self.completion_tokens
