"""The application with adapters in memory, and a customer of it."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field, fields, replace
from typing import Any
from uuid import uuid4

import argon2
import httpx2
import pytest
from fastapi import FastAPI
from pydantic import SecretStr
from starlette.routing import BaseRoute

from servicebase import testing

from gateway import domain
from gateway.accounts import Keys
from gateway.adapters.echo import EchoBackend, EchoSettings
from gateway.app import create_app
from gateway.ports import Chunk, Completion, Inference, InferenceBackend, Ports
from gateway.settings import Settings

from .. import samples
from ..fakes.clock import MemoryClock
from ..fakes.database import MemoryDatabase
from ..fakes.redis import MemoryLimiter

client = testing.client
lines = testing.lines

ADMIN_TOKEN = "the token of the administrators"  # pragma: allowlist secret
SECRET = "a secret of thirty-two characters"  # pragma: allowlist secret
# Constructed without validation, so that nothing comes from the environment.
OPTIONS = Settings.model_construct(  # pyrefly: ignore[missing-argument]  # the servers' URLs
    admin_token=SecretStr(ADMIN_TOKEN),
    secret=SecretStr(SECRET),
    max_concurrency=4,
    max_concurrency_of_team=3,
)
CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
ASKED = [{"role": "user", "content": "Hello"}]
BODIES: dict[str, dict[str, Any]] = {
    CHAT: {"model": "mine", "messages": ASKED},
    TEXT: {"model": "mine", "prompt": "Hello"},
}
ALIAS = {"temperature": 0.5, "max_tokens": 20}
"""Parameters of the customer's alias."""
PLENTY = domain.Limits(requests=1_000_000, tokens=1_000_000)
HASHER = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


@dataclass
class ScriptedBackend:
    """Backend that follows a script, and pauses where a test wants it to."""

    script: list[Chunk | Exception]
    pauses: dict[int, asyncio.Event] = field(default_factory=dict)
    """Events to wait for before a chunk, by the chunk's number."""
    asked: list[Inference] = field(default_factory=list)
    closed: int = 0
    """Number of streams that have ended, in whatever way."""
    unsupported: set[str] = field(default_factory=set)

    def supports(self, feature: str) -> bool:
        return feature not in self.unsupported

    def tokens_at_most(self, inference: Inference) -> int:
        del inference
        return 10

    async def complete(self, inference: Inference) -> Completion:
        """Return the result of `stream`, with one chunk for each choice."""
        choices: dict[int, Chunk] = {}
        async for chunk in self.stream(inference):
            before = choices.get(chunk.index, Chunk(""))
            choices[chunk.index] = replace(chunk, text=before.text + chunk.text)
        [usage] = [each.usage for each in choices.values() if each.usage]
        return Completion([*choices.values()], usage)

    async def stream(self, inference: Inference) -> AsyncGenerator[Chunk, None]:
        self.asked.append(inference)
        try:
            for number, each in enumerate(self.script):
                if pause := self.pauses.get(number):
                    await pause.wait()
                if isinstance(each, Exception):
                    raise each
                yield each
        finally:
            self.closed += 1


class World:
    """External dependencies of the application."""

    def __init__(self) -> None:
        self.clock = MemoryClock()
        self.database = MemoryDatabase(self.clock)
        self.limiter = MemoryLimiter(self.clock)
        usage = domain.Usage(prompt_tokens=3, completion_tokens=2)
        self.backend = ScriptedBackend([Chunk("one"), Chunk(" two"), Chunk("", "stop", usage)])
        echo = EchoBackend(self.clock, EchoSettings())
        self.backends: dict[str, InferenceBackend] = {"echo": echo, "scripted": self.backend}

    @property
    def ports(self) -> Ports:
        """Return the ports for the application."""
        return Ports(**{port.name: getattr(self, port.name) for port in fields(Ports)})

    async def configure(self, **changes: Any) -> domain.Config:
        """Store and announce a config, and return it."""
        config = await self.database.add_config(replace(domain.Config(), **changes))
        await self.limiter.announce()
        return config

    async def quota(self, team: domain.Team, requests: int, tokens: int) -> domain.Quota:
        """Give a team a quota."""
        most = {"requests_per_minute": requests, "tokens_per_minute": tokens}
        return await self.database.quotas.add(uuid4(), domain.NewQuota(team_id=team.id, **most))


@dataclass(frozen=True)
class Customer:
    """Team with a key, and with an alias, `mine`, that leads to the scripted backend."""

    world: World
    app: FastAPI
    team: domain.Team
    key: domain.ApiKey
    alias: domain.ModelAlias
    client: httpx2.AsyncClient
    """Client that sends the key."""

    async def post(self, path: str = CHAT, /, **fields: object) -> httpx2.Response:
        """Request a completion."""
        return await self.client.post(path, json=BODIES[path] | fields)

    async def set_parameters(self, **parameters: object) -> None:
        """Replace the parameters of the alias."""
        await self.world.database.aliases.update(self.alias.id, {"parameters": parameters})

    async def pay(self) -> None:
        """Set the price of a token to seven microcents, and the team's budget to a cent."""
        await self.world.database.teams.update(self.team.id, {"budget_cents": 1})
        await self.world.configure(prices={"real": 7})

    async def spent(self) -> int:
        """Return the microcents that are spent of the budget."""
        return (await self.world.database.teams.get(self.team.id)).spent_microcents

    async def used(self) -> tuple[int, int]:
        """Return the number of tokens that the limiter counts, and the microcents spent."""
        admission = await self.world.limiter.admit(self.team.id, PLENTY, 0)
        return PLENTY.tokens - admission.tokens_left, await self.spent()


def meanwhile(
    port: object, method: str, happen: Callable[[], Awaitable[object]], *, after: bool = False
) -> None:
    """Run `happen` before each call of a port's method, or between the call and its result."""
    work = getattr(port, method)

    async def call(*arguments: object, **options: object) -> object:
        if not after:
            await happen()
        result = await work(*arguments, **options)
        if after:
            await happen()
        return result

    setattr(port, method, call)


Refusal = tuple[int, str | None, str]


def refusal(response: httpx2.Response) -> Refusal:
    """Check the shape of an error response, and return its status, parameter and code."""
    error = response.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert error["message"]
    assert response.headers["content-type"] == "application/json"
    return response.status_code, error["param"], error["code"]


@pytest.fixture
def world() -> World:
    """The external dependencies of the application."""
    return World()


@pytest.fixture(scope="session")
def routes() -> list[BaseRoute]:
    """The routes, shared by all applications: the first request takes 80 ms to make them."""
    return create_app(World().ports, OPTIONS, hasher=HASHER).router.routes


@pytest.fixture
def app(world: World, routes: list[BaseRoute]) -> FastAPI:
    """The application."""
    app = create_app(world.ports, OPTIONS, hasher=HASHER)
    app.router.routes = [*routes]
    return app


@pytest.fixture
async def customer(world: World, app: FastAPI, client: httpx2.AsyncClient) -> Customer:
    """A customer without a quota or a budget, whose model is free."""
    await world.database.add_config(domain.Config(prices={"echo": 0, "real": 0}))
    user, issued = await samples.user(world.database), Keys(SECRET).issue()
    key = await samples.key(world.database, user, issued)
    model = {"target": "real", "provider": "scripted", "parameters": ALIAS}
    aliases = samples.SAMPLES["aliases"]
    [alias] = await aliases.add(world.database, "mine", team_id=user.team_id, **model)
    client.headers["Authorization"] = f"Bearer {issued.secret}"
    team = await world.database.teams.get(user.team_id)
    return Customer(world, app, team, key, alias, client)
