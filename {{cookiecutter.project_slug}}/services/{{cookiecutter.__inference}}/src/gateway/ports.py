"""What the gateway asks of the outside; adapters/ has the answers.

Every method raises UnavailableError when its server does not answer in time.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol
from uuid import UUID

from servicebase.repository import Repository

from . import domain

Changes = Mapping[str, Any]
"""New values of some fields, by their names."""
# A search finds by the beginning of a team's name, a user's email, a key's name or prefix, or an
# alias, however it is typed; by a whole tag aliases, too; and no quota. A value that breaks a rule
# which the database knows as well is an InvalidError, an owner that does not exist an
# InvalidReferenceError. With whatever is removed all goes that belongs to it.
Teams = Repository[domain.NewTeam, domain.Team, Changes]
ApiKeys = Repository[domain.NewApiKey, domain.ApiKey, Changes]
Quotas = Repository[domain.NewQuota, domain.Quota, Changes]


class Users(Repository[domain.NewUser, domain.User, Changes], Protocol):
    """The users, and their sessions. A new password ends these; none revokes the keys as well."""

    async def by_email(self, email: str) -> domain.User:
        """Return the user with this email; raise NotFoundError if there is none."""

    async def add_session(self, session: domain.Session, password_hash: str, now: datetime) -> None:
        """Store a session, and forget those that have expired.

        NotFoundError says that there is no such user, or that by now they have another password.
        """

    async def session(self, hash_: str) -> tuple[domain.Session, domain.User]:
        """Return a session and whose it is, be it expired; raise NotFoundError if it has ended."""

    async def end_session(self, hash_: str) -> None:
        """End a session; repeating it changes nothing."""


class Aliases(Repository[domain.NewModelAlias, domain.ModelAlias, Changes], Protocol):
    """The aliases, each at its newest version."""

    async def update(
        self, id_: UUID, changes: Changes, *, version: int | None = None
    ) -> domain.ModelAlias:
        """Make the next version of one; raise VersionConflictError if it is not at `version`."""

    async def routes(self, team: UUID) -> Mapping[str, domain.ModelAlias]:
        """Return a team's aliases by their names; none for a team that does not exist."""

    async def versions(self, id_: UUID) -> Sequence[domain.ModelAlias]:
        """Return all versions of an alias, the newest first, or raise NotFoundError."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What a key gives access to."""

    key: domain.ApiKey
    limits: domain.Limits | None
    """The team's quota; None for one that has none."""


class Database(Protocol):
    """Where teams and all that belongs to them is kept."""

    teams: Teams
    users: Users
    keys: ApiKeys
    aliases: Aliases
    quotas: Quotas
    spending: "Spending"

    async def register(self, team: domain.NewTeam, email: str, password_hash: str) -> domain.User:
        """Create a team and its first user, an admin of it: both or neither.

        ConflictError says that another one has the name, or the email.
        """

    async def config(self) -> domain.Config:
        """Return the newest config, or the default one; raise UnreadableError if it is none."""

    async def add_config(self, config: domain.Config) -> domain.Config:
        """Store a config, and return it with a version greater than all others."""

    async def grant(self, key_hash: str) -> Grant:
        """Return what a key gives access to, be it no longer good, or raise NotFoundError."""

    async def ping(self) -> None:
        """Return if the server answers."""


class Spending(Protocol):
    """What is spent of the teams' budgets, or set aside for requests at hand. Each is atomic."""

    async def reserve(self, reservation: UUID, team: UUID, microcents: int, *, ttl: float) -> None:
        """Set this much of a team's budget aside, for `ttl` seconds.

        BudgetError says that less is left, NotFoundError that there is no such team.
        """

    async def settle(self, reservation: UUID, microcents: int) -> None:
        """Book what was used, however much, in the place of what a reservation has set aside.

        Repeating it changes nothing. A reservation that was given back is booked all the same, for
        a day.
        """

    async def renew(self, reservations: Sequence[UUID], *, ttl: float) -> None:
        """Let reservations hold for `ttl` seconds from now."""

    async def give_back(self) -> int:
        """Give back what is set aside by reservations that have expired; return how many."""


class Announcements(Protocol):
    """Tells every process of the gateway that something in the database has changed."""

    async def announce(self) -> None:
        """Tell everybody, by a version that was never there before."""

    def versions(self) -> AsyncIterator[str]:
        """Yield the version whenever it may be another, without end; "" is the first.

        It begins with the one that holds, and yields it anew after each time that it had to connect
        again, so that nothing which was announced meanwhile is lost. It does not raise, but tries
        again.
        """

    async def ping(self) -> None:
        """Return if the server answers."""


@dataclass(frozen=True, slots=True)
class Admission:
    """What a limiter says of one request. Times are seconds from now."""

    refused: str | None
    """What there is too little of: "requests" or "tokens"; None if the request may go on."""
    version: str
    """The one of the newest announcement by then."""
    requests_left: int
    tokens_left: int
    requests_reset: float
    """Until all requests may be made again; as is the next, of tokens."""
    tokens_reset: float
    retry_after: float
    """Until this request would be let through; 0 if it was."""
    at: float
    """When it was counted, in seconds of the epoch: `settle` wants to know."""


class Limiter(Protocol):
    """Counts what each team uses. In no sixty seconds it lets through more than the limits."""

    async def admit(self, team: UUID, limits: domain.Limits, tokens: int) -> Admission:
        """Count one request and this many tokens, or neither, in one atomic step."""

    def settle(self, team: UUID, at: float, tokens: int) -> None:
        """Have the tokens that an admission counted corrected by this many; negative gives back.

        What was counted never gets less than nothing, and what is out of the window stays out. The
        next `admit` of this process knows of it, those of others soon do; unless the server is
        down, which is logged: in a minute it is out of the window anyway.
        """


Message = Mapping[str, Any]
"""One turn of a chat, as in the API of OpenAI; so is whatever else is called a mapping below."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inference:
    """What is asked for: of the gateway by a client, then of a backend by the gateway."""

    model: str
    """As the client calls it, then as the provider does."""
    prompt: str | Sequence[Message]
    """A text to go on with, or a chat to answer."""
    max_tokens: int | None = None
    """At most so many are to be made for each choice; None for as many as the model makes."""
    n: int = 1
    """How many choices are to be made."""
    parameters: Mapping[str, object] = field(default_factory=dict)
    """As in the API of OpenAI: temperature, tools, response_format and so on.

    Of a client's, None stands for the backend's default, whatever an alias says.
    """
    features: Mapping[str, str] = field(default_factory=dict)
    """What the backend has to support beside these, each with the field that asks for it."""


FinishReason = Literal["stop", "length", "tool_calls", "content_filter", "function_call"]


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a choice, or the whole of one.

    Of a stream the last piece of each choice, and it alone, has the reason; the last of all, and it
    alone, the usage.
    """

    text: str
    finish_reason: FinishReason | None = None
    usage: domain.Usage | None = None
    index: int = 0
    """Which choice it is of."""
    more: dict[str, Any] | None = None
    """What a message has beside its content: tool_calls, a refusal."""
    logprobs: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Completion:
    """A whole answer."""

    choices: Sequence[Chunk]
    usage: domain.Usage


class InferenceBackend(Protocol):
    """Where language models run.

    To ask for an answer raises BackendError (the backend fails, or what it says is no completion),
    RefusedError (the request is wrong), ThrottledError (it is asked too often) or UnavailableError:
    of a stream before its first piece, but BackendError at any time, if the answer breaks off.
    """

    def supports(self, feature: str) -> bool:
        """Return whether it does what a parameter, or a part of a message, asks for.

        What it does not support is refused, rather than answered as if it had not been asked for.
        """

    def tokens_at_most(self, inference: Inference) -> int:
        """Return how many tokens the prompt can be, without asking: no fewer than it will be."""

    async def complete(self, inference: Inference) -> Completion:
        """Return the whole answer."""

    def stream(self, inference: Inference) -> AsyncGenerator[Chunk, None]:
        """Yield the answer in pieces, which together are the text that `complete` returns.

        Whoever stops early closes the iterator, and the backend stops as well.
        """


class Clock(Protocol):
    """The time, which a test can turn."""

    def now(self) -> datetime:
        """Return the time, with the zone UTC."""

    async def sleep(self, seconds: float) -> None:
        """Return after so many seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """All that the gateway needs from outside."""

    database: Database
    announcements: Announcements
    limiter: Limiter
    backends: Mapping[str, InferenceBackend]
    """By the provider's name, as in an alias."""
    clock: Clock
