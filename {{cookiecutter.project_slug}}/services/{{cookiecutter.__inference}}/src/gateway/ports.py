"""What the gateway asks of the outside; adapters/ has the answers.

Every method raises UnavailableError when its server does not answer in time.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple, Protocol, TypeVar
from uuid import UUID

from servicebase.pagination import Position

from . import domain

New_contra = TypeVar("New_contra", contravariant=True)
Kept_co = TypeVar("Kept_co", covariant=True)

Update = domain.Config | domain.PolicyUpdate


class Collection(Protocol[New_contra, Kept_co]):
    """All that is kept of one kind. An id may be given as text.

    Every method that takes one raises InvalidIdError for a text that is no UUID.
    """

    async def create(self, new: New_contra) -> Kept_co:
        """Create one.

        Raises:
            ConflictError: another one has a value that must be unique.
            InvalidReferenceError: it belongs to something that does not exist.
            InvalidError: a value breaks a rule that the database knows, too.
        """
        ...

    async def get(self, id_: UUID | str) -> Kept_co:
        """Return the one with this id.

        Raises:
            NotFoundError: there is none.
        """
        ...

    async def page(
        self,
        *,
        limit: int,
        after: Position | None = None,
        search: str = "",
        team: UUID | str | None = None,
        user: UUID | str | None = None,
    ) -> Sequence[Kept_co]:
        """Return at most `limit` of those that come after a position.

        `search` picks those known by a text that begins with it (a team's name, a user's email, a
        key's name or prefix, an alias), and those that have it as a tag; quotas have neither, so
        that any search finds none. Letter case does not count (beyond ASCII, as far as the
        database's locale knows it). `team` and `user` pick those that belong to that one; teams
        and users belong to themselves, and what has no user to nobody.
        """
        ...

    async def update(
        self, id_: UUID | str, changes: Mapping[str, Any], *, version: int | None = None
    ) -> Kept_co:
        """Replace some fields of one, and return it; with none, return it as it is.

        Args:
            id_: which one.
            changes: new values by the names of its fields.
            version: the one that the caller has seen; for aliases, which alone have versions.

        Raises:
            VersionConflictError: it has another version by now.
            ConflictError: another one has a value that must be unique.
            InvalidError: a value breaks a rule that the database knows, too.
            NotFoundError: there is none.
        """
        ...

    async def remove(self, id_: UUID | str) -> None:
        """Remove the one with this id, and all that belongs to it.

        Raises:
            NotFoundError: there is none.
        """
        ...


@dataclass(frozen=True, slots=True)
class Grant:
    """What a key gives access to."""

    key: domain.ApiKey
    limits: domain.Limits | None
    """The team's quota; None for one that has none."""


class Database(Protocol):
    """Where teams and all that belongs to them is kept."""

    @property
    def teams(self) -> Collection[domain.NewTeam, domain.Team]:
        """Return the teams."""
        ...

    @property
    def users(self) -> Collection[domain.NewUser, domain.User]:
        """Return the users."""
        ...

    @property
    def keys(self) -> Collection[domain.NewApiKey, domain.ApiKey]:
        """Return the API keys."""
        ...

    @property
    def aliases(self) -> Collection[domain.NewModelAlias, domain.ModelAlias]:
        """Return the aliases, each at its newest version."""
        ...

    @property
    def quotas(self) -> Collection[domain.NewQuota, domain.Quota]:
        """Return the quotas."""
        ...

    async def register(self, team: domain.NewTeam, email: str, password_hash: str) -> domain.User:
        """Create a team and its first user, an admin of it: both or neither.

        Raises:
            ConflictError: another one has the name, or the email.
        """
        ...

    async def user_by_email(self, email: str) -> domain.User:
        """Return the user with this email.

        Raises:
            NotFoundError: there is none.
        """
        ...

    async def grant(self, key_hash: str) -> Grant:
        """Return what the key with this hash gives access to, be it expired or revoked.

        Raises:
            NotFoundError: there is none.
        """
        ...

    async def routes(self, team: UUID) -> Mapping[str, domain.ModelAlias]:
        """Return a team's aliases by their names; none for a team that does not exist."""
        ...

    async def versions(self, alias: UUID | str) -> Sequence[domain.ModelAlias]:
        """Return all versions of an alias, the newest first.

        Raises:
            InvalidIdError: a text that is no UUID.
            NotFoundError: there is no such alias.
        """
        ...

    async def spend(self, team: UUID, microcents: int) -> None:
        """Take this much of a team's budget, in one atomic step; a negative amount gives back.

        Raises:
            BudgetError: what is left is less. Giving back is never refused.
            NotFoundError: there is no such team.
        """
        ...

    async def ping(self) -> None:
        """Return if the server answers."""
        ...


class ConfigStore(Protocol):
    """What all processes of the gateway have to know at once."""

    async def fetch(self) -> domain.Config:
        """Return the config that was published last; the default one, if none was.

        Raises:
            UnreadableError: what is stored is no config.
        """
        ...

    async def publish(self, config: domain.Config) -> domain.Config:
        """Store a config and tell everybody; return it with the next version, whatever it had.

        Of two at the same time the one that gets the greater version stays. One that cannot be
        read is replaced.
        """
        ...

    async def publish_policy(self, team: UUID | None) -> domain.PolicyUpdate:
        """Tell everybody that something of a team (None: of every team) is new; count it up."""
        ...

    def updates(self) -> AsyncIterator[Update]:
        """Yield what changes, without end.

        It begins with the config and the newest policy version (with team None) as they are, and
        yields them anew after each time that it had to connect again, so that nothing which was
        published meanwhile is lost. It does not raise, but tries again. A stored config that
        cannot be read is logged and left out.
        """
        ...

    async def ping(self) -> None:
        """Return if the server answers."""
        ...


@dataclass(frozen=True, slots=True)
class Admission:
    """What a limiter says of one request. Times are seconds from now."""

    refused: str | None
    """What there is too little of: "requests" or "tokens"; None if the request may go on."""
    requests_left: int
    tokens_left: int
    requests_reset: float
    """Until all requests may be made again; as is the next, of tokens."""
    tokens_reset: float
    retry_after: float
    """Until this request would be let through; 0 if it was."""
    at: float
    """When it was counted, in seconds of the epoch: `settle` wants to know."""
    policy: int
    """The version of the newest PolicyUpdate that had been published by then."""


class Limiter(Protocol):
    """Counts what each team uses. In no sixty seconds it lets through more than the limits."""

    async def admit(self, team: UUID, limits: domain.Limits, tokens: int) -> Admission:
        """Count one request and this many tokens, or neither, in one atomic step."""
        ...

    async def settle(self, team: UUID, at: float, tokens: int) -> None:
        """Correct the tokens that an admission counted, by this many; negative gives back.

        What was counted never gets less than nothing, and what is out of the window stays out. The
        next `admit` of this process knows of it, those of others soon do.
        """
        ...

    async def ping(self) -> None:
        """Return if the server answers."""
        ...


class Sessions(Protocol):
    """Remembers which session tokens were revoked before they expired."""

    async def revoke(self, token_id: str, until: datetime) -> None:
        """Revoke a token, which expires at `until` anyway; repeating it changes nothing."""
        ...

    async def is_revoked(self, token_id: str) -> bool:
        """Return whether a token was revoked."""
        ...


class Message(NamedTuple):
    """One turn of a chat."""

    role: str
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Inference:
    """What a backend is asked for."""

    model: str
    """As the provider calls it."""
    prompt: str | tuple[Message, ...]
    """A text to go on with, or a chat to answer."""
    max_tokens: int
    """At most so many are to be made."""
    parameters: Mapping[str, object] = field(default_factory=dict)
    """As in the API of OpenAI: temperature, top_p, seed, stop and so on."""


@dataclass(frozen=True, slots=True)
class Completion:
    """A whole answer."""

    text: str
    finish_reason: str
    """"stop" or "length"."""
    usage: domain.Usage


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of an answer. The last one, and it alone, has the reason and the usage."""

    text: str
    finish_reason: str | None = None
    usage: domain.Usage | None = None


class InferenceBackend(Protocol):
    """Where language models run."""

    def tokens_at_most(self, inference: Inference) -> int:
        """Return how many tokens the prompt can be, without asking: no fewer than it will be."""
        ...

    async def complete(self, inference: Inference) -> Completion:
        """Return the whole answer.

        Raises:
            BackendError: the backend refuses, or what it says is no completion.
            UnavailableError: it does not answer.
        """
        ...

    def stream(self, inference: Inference) -> AsyncGenerator[Chunk, None]:
        """Yield the answer in pieces, which together are the text that `complete` returns.

        Whoever stops early closes the iterator, and the backend stops as well.

        Raises:
            BackendError: as in `complete`, and if the answer breaks off: between two pieces.
            UnavailableError: as in `complete`.
        """
        ...

    async def ping(self) -> None:
        """Return if the backend answers."""
        ...


class Clock(Protocol):
    """The time, which a test can turn."""

    def now(self) -> datetime:
        """Return the time, with the zone UTC."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after so many seconds."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """All that the gateway needs from outside."""

    database: Database
    config: ConfigStore
    limiter: Limiter
    sessions: Sessions
    backends: Mapping[str, InferenceBackend]
    """By the provider's name, as in an alias."""
    clock: Clock
