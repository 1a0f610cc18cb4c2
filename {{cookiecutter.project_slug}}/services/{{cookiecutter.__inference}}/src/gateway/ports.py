"""Ports: interfaces of the gateway to servers and the clock, implemented in adapters/.

Every method raises UnavailableError if its server does not respond in time.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol
from uuid import UUID

from servicebase.repository import Repository

from . import domain

Changes = Mapping[str, Any]
"""New values of some fields, by field name."""
# A search matches the beginning of a team's name, a user's email, a key's name or prefix, or an
# alias, in upper or lower case; also a whole tag of an alias; never a quota. A value that violates
# a constraint of the database raises InvalidError, an owner that does not exist raises
# InvalidReferenceError. Removing an entity also removes everything that belongs to it.
Teams = Repository[domain.NewTeam, domain.Team, Changes]
ApiKeys = Repository[domain.NewApiKey, domain.ApiKey, Changes]
Quotas = Repository[domain.NewQuota, domain.Quota, Changes]


class Users(Repository[domain.NewUser, domain.User, Changes], Protocol):
    """Users and their sessions. A new password ends the sessions; None also revokes the keys."""

    async def add_session(self, session: domain.Session, password_hash: str, now: datetime) -> None:
        """Store a session, and delete expired ones.

        Raise NotFoundError if the user does not exist, or has another password by now.
        """

    async def session(self, hash_: str) -> tuple[domain.Session, domain.User]:
        """Return a session, even an expired one, and its user; raise NotFoundError if it ended."""

    async def end_session(self, hash_: str) -> None:
        """End a session; repeating it changes nothing."""


class Aliases(Repository[domain.NewModelAlias, domain.ModelAlias, Changes], Protocol):
    """Aliases, each at its newest version."""

    async def update(
        self, id_: UUID, changes: Changes, *, version: int | None = None
    ) -> domain.ModelAlias:
        """Create an alias's next version; raise VersionConflictError if it is not at `version`."""

    async def routes(self, team: UUID) -> Mapping[str, domain.ModelAlias]:
        """Return a team's aliases by name; an empty mapping if the team does not exist."""

    async def versions(self, id_: UUID) -> Sequence[domain.ModelAlias]:
        """Return all versions of an alias, newest first, or raise NotFoundError."""


@dataclass(frozen=True, slots=True)
class Grant:
    """Access that a key gives."""

    key: domain.ApiKey
    limits: domain.Limits | None
    """Quota of the team; None if it has none."""


class Database(Protocol):
    """Storage of teams and everything that belongs to them. Each method is atomic."""

    teams: Teams
    users: Users
    keys: ApiKeys
    aliases: Aliases
    quotas: Quotas

    async def register(self, team: domain.NewTeam, email: str, password_hash: str) -> domain.User:
        """Create a team and its first user, its admin: both or neither.

        Raise ConflictError if the name or the email is taken.
        """

    async def config(self) -> domain.Config:
        """Return the newest config, or the default; raise UnreadableError if it is invalid."""

    async def add_config(self, config: domain.Config) -> domain.Config:
        """Store a config, and return it with a version greater than all others."""

    async def grant(self, key_hash: str) -> Grant:
        """Return the grant of a key, even of an expired or revoked one, or raise NotFoundError."""

    async def reserve(self, reservation: UUID, team: UUID, microcents: int, *, ttl: float) -> None:
        """Reserve an amount of a team's budget, for a request in flight, for `ttl` seconds.

        Raise BudgetError if less is left, or if the team does not exist.
        """

    async def settle(self, reservation: UUID, microcents: int) -> None:
        """Charge what was used, however much, in place of what was reserved.

        Repeating it changes nothing. A reservation that was given back can still be settled for a
        day.
        """

    async def renew(self, reservations: Sequence[UUID], *, ttl: float) -> None:
        """Extend reservations to `ttl` seconds from now."""

    async def give_back(self) -> int:
        """Give back the budget of expired reservations; return the number of reservations."""


@dataclass(frozen=True, slots=True)
class Admission:
    """Decision of a limiter on one request. Times are in seconds from now."""

    refused: Literal["requests", "tokens", "version"] | None
    """Exceeded limit, or that the caller's version is outdated; None if the request is admitted."""
    version: str
    """Version of the newest announcement at that time."""
    requests_left: int
    tokens_left: int
    requests_reset: float
    """Time until the limit is fully available again; `tokens_reset` is the same for tokens."""
    tokens_reset: float
    retry_after: float
    """Time until this request would be admitted; 0 if it was."""
    at: float
    """Time at which it was counted, in seconds since the epoch, for `settle`."""


class Limiter(Protocol):
    """Counter of each team's usage, which admits at most the limits in any sixty seconds.

    It also announces to every process that something in the database has changed.
    """

    async def admit(
        self, team: UUID, limits: domain.Limits, tokens: int, version: str | None = None
    ) -> Admission:
        """Count one request and this many tokens, or neither, in one atomic step.

        With a version other than that of the newest announcement, the request is refused.
        """

    def settle(self, team: UUID, at: float, tokens: int) -> None:
        """Add tokens to those that an admission counted; a negative number gives tokens back.

        Counts never fall below 0, and those that have left the window are not corrected. The next
        `admit` of this process sees the correction, those of others soon do. If the server is down,
        it is logged and lost: in a minute the count leaves the window anyway.
        """

    async def announce(self) -> str:
        """Store and return a new, unique version."""

    async def version(self) -> str:
        """Return the newest version; "" before the first one."""


Message = Mapping[str, Any]
"""A message of a chat, as in OpenAI's API; all other mappings below follow that API, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inference:
    """A request for a completion: by a client to the gateway, then by the gateway to a backend."""

    model: str
    """The client's name for the model, then the provider's."""
    prompt: str | Sequence[Message]
    """A text to continue, or a chat to answer."""
    max_tokens: int | None = None
    """Maximum number for each choice; None for as many as the model makes."""
    n: int = 1
    """Number of choices to make."""
    parameters: Mapping[str, object] = field(default_factory=dict)
    """Parameters as in OpenAI's API: temperature, tools, response_format and so on.

    In a client's request, None is the backend's default, and overrides that of an alias.
    """
    features: Mapping[str, str] = field(default_factory=dict)
    """Other features that the backend must support, each with the field that asks for it."""


FinishReason = Literal["stop", "length", "tool_calls", "content_filter", "function_call"]


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a choice, or a whole one.

    In a stream, only the last chunk of each choice has the finish reason, and only the last chunk
    of all has the usage.
    """

    text: str
    finish_reason: FinishReason | None = None
    usage: domain.Usage | None = None
    index: int = 0
    """Index of its choice."""
    more: dict[str, Any] | None = None
    """Other fields of the message than its content: tool_calls, a refusal."""
    logprobs: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Completion:
    """A whole completion."""

    choices: Sequence[Chunk]
    usage: domain.Usage


class InferenceBackend(Protocol):
    """Server of language models.

    Completing raises BackendError (the backend fails, or its response is not a completion),
    RefusedError (the request is invalid), ThrottledError (too many requests) or UnavailableError:
    a stream before its first chunk, but BackendError at any time, if the response breaks off.
    """

    def supports(self, feature: str) -> bool:
        """Return whether the backend supports a parameter, or a type of part in a message.

        Requests with unsupported features are refused, rather than answered without them.
        """

    def tokens_at_most(self, inference: Inference) -> int:
        """Return an upper bound on the tokens of the prompt, without asking the server."""

    async def complete(self, inference: Inference) -> Completion:
        """Return the whole completion."""

    def stream(self, inference: Inference) -> AsyncGenerator[Chunk, None]:
        """Yield the completion in chunks, which together are the text that `complete` returns.

        A caller that stops early closes the iterator, and the backend stops as well.
        """


class Clock(Protocol):
    """Clock that tests can advance."""

    def now(self) -> datetime:
        """Return the current time in UTC."""

    async def sleep(self, seconds: float) -> None:
        """Return after this many seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """External dependencies of the gateway."""

    database: Database
    limiter: Limiter
    backends: Mapping[str, InferenceBackend]
    """Backends by provider name, as in an alias."""
    clock: Clock
