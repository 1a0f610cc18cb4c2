"""What a gateway keeps, and which values are good. No I/O.

`New...` is what the creator of one decides, `...` is one that exists. One that exists is not
checked again, so that older ones outlive stricter rules.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal
from uuid import UUID

from servicebase import values
from servicebase.repository import Entity

from . import errors

NAME_LENGTH = 200
EMAIL_LENGTH = 254  # RFC 5321, 4.5.3.1.3, less the angle brackets
EMAIL_PATTERN = re.compile(r"[^@\s\x00-\x1f\x7f\ud800-\udfff]+@[a-z0-9-]+(\.[a-z0-9-]+)+")
ALIAS_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,99}")
INTEGER_LIMIT = 2**31 - 1  # of PostgreSQL's integer
MICROCENTS = 1_000_000  # in a cent

Role = Literal["member", "admin"]
"""What a user is to their team; nothing here is decided by it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTeam:
    """Who pays. Names are unique."""

    name: str
    budget_cents: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Team(NewTeam, Entity):
    """A team, and what it has spent or set aside for requests at hand, in millionths of a cent."""

    spent_microcents: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class NewUser:
    """Who belongs to a team. Emails are unique."""

    team_id: UUID
    email: str
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
    name: str | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey(NewApiKey, Entity):
    """An API key."""

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
    alias: str
    target: str
    """What the provider calls the model."""
    provider: str
    tags: tuple[str, ...] = ()
    parameters: dict[str, object] = field(default_factory=dict)
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
    requests_per_minute: int
    tokens_per_minute: int

    @property
    def limits(self) -> Limits:
        """Return it without the team."""
        return Limits(self.requests_per_minute, self.tokens_per_minute)


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


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens that a completion took."""

    prompt_tokens: int
    completion_tokens: int

    @property
    def total(self) -> int:
        """Return all of them."""
        return self.prompt_tokens + self.completion_tokens


def check_email(value: str) -> str:
    """Return `value` in its canonical form: lower case, since nobody means two people by it.

    Raises:
        InvalidError: it is no address. That it is somebody's, only a letter to it can tell.
    """
    email = values.canonical(value).lower()
    if len(email) > EMAIL_LENGTH or not EMAIL_PATTERN.fullmatch(email):
        raise errors.InvalidError("email", "must be an address such as ann@example.org")
    return email


def check_alias(value: str, what: str = "alias") -> str:
    """Return `value`, the name of a model; `message` is the field that it is the value of.

    Raises:
        InvalidError: it has other characters than names of models have.
    """
    if not ALIAS_PATTERN.fullmatch(value):
        raise errors.InvalidError(
            what, "must have 1 to 100 of A-Z, a-z, 0-9 and ._:/- and begin with a letter or digit"
        )
    return value


def check_amount(field: str, value: int) -> int:
    """Return `value`, a number of cents, requests or tokens.

    Raises:
        InvalidError: it is negative, or more than the database holds.
    """
    if not 0 <= value <= INTEGER_LIMIT:
        raise errors.InvalidError(field, f"must be from 0 to {INTEGER_LIMIT}")
    return value
