"""The application on adapters in memory, and a team that may use it."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from dataclasses import dataclass, field

import argon2
import httpx2
import pytest
import structlog
from fastapi import FastAPI
from structlog.contextvars import merge_contextvars
from structlog.typing import EventDict

from gateway import domain
from gateway.accounts import Keys
from gateway.adapters.echo import EchoBackend, EchoSettings
from gateway.adapters.memory.clock import MemoryClock
from gateway.adapters.memory.config import MemoryConfigStore
from gateway.adapters.memory.database import MemoryDatabase
from gateway.adapters.memory.limiter import MemoryLimiter
from gateway.adapters.memory.sessions import MemorySessions
from gateway.app import create_app
from gateway.options import Options
from gateway.ports import Chunk, Completion, Inference, InferenceBackend, Ports

ADMIN_TOKEN = "the token of the administrators"  # pragma: allowlist secret
SECRET = "a secret of thirty-two characters"  # pragma: allowlist secret
OPTIONS = Options(
    admin_token=ADMIN_TOKEN,
    secret=SECRET,
    max_concurrency=4,
    hasher=argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1),
)


@dataclass
class ScriptedBackend:
    """Says what it is told to, and stops where it is told to wait."""

    script: list[Chunk | Exception] = field(default_factory=list)
    waits: asyncio.Event = field(default_factory=asyncio.Event)
    """What `complete` waits for before it answers, and `stream` before its second piece."""
    asked: list[Inference] = field(default_factory=list)
    closed: int = 0
    """How many streams ended, in whatever way."""

    def __post_init__(self) -> None:
        self.waits.set()

    def tokens_at_most(self, inference: Inference) -> int:
        """Return what a test can calculate with."""
        del inference
        return 10

    async def complete(self, inference: Inference) -> Completion:
        """Return what `stream` says, in one piece."""
        await self.waits.wait()
        chunks = [chunk async for chunk in self.stream(inference)]
        last = chunks[-1]
        assert last.finish_reason
        assert last.usage
        text = "".join(chunk.text for chunk in chunks)
        return Completion(text, last.finish_reason, last.usage)

    async def stream(self, inference: Inference) -> AsyncGenerator[Chunk, None]:
        """Return what the script says."""
        self.asked.append(inference)
        try:
            for number, each in enumerate(self.script):
                if number:
                    await self.waits.wait()
                if isinstance(each, Exception):
                    raise each
                yield each
        finally:
            self.closed += 1

    async def ping(self) -> None:
        """Return."""


ANSWER: tuple[Chunk, ...] = (
    Chunk("one"),
    Chunk(" two"),
    Chunk("", "stop", domain.Usage(prompt_tokens=3, completion_tokens=2)),
)


@dataclass
class World:
    """All that is outside of the application; its fields are the ports."""

    clock: MemoryClock = field(default_factory=MemoryClock)
    config: MemoryConfigStore = field(default_factory=MemoryConfigStore)
    backends: dict[str, InferenceBackend] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.database = MemoryDatabase(self.clock)
        self.limiter = MemoryLimiter(self.clock, self.config)
        self.sessions = MemorySessions(self.clock)
        self.backend = ScriptedBackend([*ANSWER])
        self.backends["echo"] = EchoBackend(self.clock, EchoSettings())
        self.backends["scripted"] = self.backend

    @property
    def ports(self) -> Ports:
        """Return them as the application gets them."""
        return Ports(
            database=self.database,
            config=self.config,
            limiter=self.limiter,
            sessions=self.sessions,
            backends=self.backends,
            clock=self.clock,
        )

    async def team(
        self, name: str = "team", *, budget_cents: int = 0, limits: domain.Limits | None = None
    ) -> domain.Team:
        """Return a new team, with a quota if there are limits."""
        team = await self.database.teams.create(
            domain.NewTeam(name=name, budget_cents=budget_cents)
        )
        if limits:
            quota = domain.NewQuota(
                team_id=team.id,
                requests_per_minute=limits.requests,
                tokens_per_minute=limits.tokens,
            )
            await self.database.quotas.create(quota)
        return team

    async def key(self, team: domain.Team) -> tuple[str, domain.ApiKey]:
        """Return a new API key of a new user of a team: the key itself, and what is kept of it."""
        issued = Keys(SECRET).issue()
        email = f"{issued.hash[:8]}@example.org"
        user = await self.database.users.create(domain.NewUser(team_id=team.id, email=email))
        new = domain.NewApiKey(
            team_id=team.id, user_id=user.id, hash=issued.hash, prefix=issued.prefix
        )
        return issued.key, await self.database.keys.create(new)


@pytest.fixture
def world() -> World:
    """The outside of the application."""
    return World()


@pytest.fixture
def app(world: World) -> FastAPI:
    """The application."""
    return create_app(world.ports, OPTIONS)


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of the application, in this process, without a credential."""
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://service") as client:
        yield client


@pytest.fixture
async def team(world: World) -> domain.Team:
    """A team without a quota and without a budget."""
    return await world.team()


@pytest.fixture
async def key(world: World, team: domain.Team, client: httpx2.AsyncClient) -> str:
    """A key of the team, which the client shows from now on."""
    key, _ = await world.key(team)
    client.headers["Authorization"] = f"Bearer {key}"
    return key


@pytest.fixture
async def alias(world: World, team: domain.Team) -> domain.ModelAlias:
    """A model of the team, `mine`, which the scripted backend is asked for."""
    new = domain.NewModelAlias(
        team_id=team.id,
        alias="mine",
        target="real",
        provider="scripted",
        parameters={"temperature": 0.5, "max_tokens": 20},
    )
    return await world.database.aliases.create(new)


@pytest.fixture
def lines() -> Iterator[list[EventDict]]:
    """What is logged during the test."""
    with structlog.testing.capture_logs([merge_contextvars]) as lines:
        yield lines
