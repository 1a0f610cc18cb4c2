"""The config store on Redis.

What is published is stored with a version, in one step with a message to all who listen. The
message may get lost, since Redis keeps none for a subscriber that is just connecting again; so it
is a hint only, and what counts is what is stored.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace
from uuid import UUID

import structlog
from pydantic import TypeAdapter
from redis.asyncio import Redis
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import RedisError, ResponseError

from ... import domain, errors
from ...ports import Update
from .connection import PREFIX, database, drop_idle, script

CONFIG = PREFIX + "config"
POLICY = PREFIX + "policy"
RECONCILE = 30.0
"""Seconds after which what is stored is looked at, though no message came."""
GRACE = 5.0
"""Seconds that a subscriber may take to connect."""
BACKOFF = ExponentialWithJitterBackoff(base=0.05, cap=0.5)

_JSON = TypeAdapter(domain.Config)
_log = structlog.get_logger()


@dataclass(slots=True)
class _Seen:
    """What a subscriber knows already."""

    config: int | str | None = None
    """Its version, or what is wrong with it."""
    policy: int | None = None


class RedisConfigStore:
    """Keeps the config in a hash, next to its version, and the policies' version in a counter."""

    def __init__(self, client: Redis, *, reconcile: float = RECONCILE) -> None:
        self._client = client
        self._reconcile = reconcile
        # Redis delivers messages across its numbered databases.
        self._channel = f"{PREFIX}updates:{database(client)}"
        self._publish = script(client, "publish.lua")
        self._publish_policy = script(client, "publish_policy.lua")

    async def fetch(self) -> domain.Config:
        """Return the config that was published last, or the default one."""
        try:
            version, stored = await self._client.hmget(CONFIG, ["version", "config"])
            if (version, stored) == (None, None):
                return domain.Config()
            return replace(_JSON.validate_json(stored or ""), version=int(version or ""))
        # A key of another type; no number, no JSON, no config, not even text.
        except (ResponseError, ValueError) as error:
            raise errors.UnreadableError(CONFIG) from error

    async def publish(self, config: domain.Config) -> domain.Config:
        """Store a config and tell everybody."""
        stored = _JSON.dump_json(config, exclude={"version"})
        version = await self._publish(keys=(CONFIG,), args=(stored, self._channel))
        return replace(config, version=version)

    async def publish_policy(self, team: UUID | None) -> domain.PolicyUpdate:
        """Count up the version of the policies and tell everybody."""
        whose = "" if team is None else str(team)
        version = await self._publish_policy(keys=(POLICY,), args=(whose, self._channel))
        return domain.PolicyUpdate(version, team)

    async def updates(self) -> AsyncGenerator[Update]:
        """Yield what changes, without end."""
        failures = 0
        while True:
            try:
                async with aclosing(self._follow()) as following:
                    async for update in following:
                        failures = 0
                        yield update
            # Whatever it is, a user without the right or a counter that is no number among them:
            # somebody fixes it, and nobody starts the process again for it.
            except (errors.UnavailableError, RedisError, OSError, ValueError) as error:
                _log.warning("config_updates_interrupted", reason=str(error))
                await drop_idle(self._client)
                failures += 1
                await asyncio.sleep(BACKOFF.compute(failures))  # Nobody says when it is back.

    async def ping(self) -> None:
        """Return if the server answers."""
        await self._client.ping()

    async def _follow(self) -> AsyncGenerator[Update]:
        """Yield what changes, as long as the connection lasts."""
        seen = _Seen()
        async with self._client.pubsub() as pubsub:
            async with asyncio.timeout(GRACE):
                await pubsub.subscribe(self._channel)
            while True:
                # The outer limit is for a connection that breaks, and that redis-py makes anew.
                async with asyncio.timeout(self._reconcile + GRACE):
                    message = await pubsub.get_message(timeout=self._reconcile)
                # That this is the first news, or that some were missed, since it is another
                # connection. To look before it would miss what is published in between.
                if message and message["type"] == "subscribe":
                    seen = _Seen()
                update = message and self._next(seen, str(message["data"]))
                for each in [update] if update else await self._stored(seen):
                    yield each

    def _next(self, seen: _Seen, message: str) -> Update | None:
        """Return the update in a message, unless what is stored has to be looked at."""
        match message.split(" "):
            case ["policy", version, team] if version == str((seen.policy or 0) + 1):
                seen.policy = int(version)
                return domain.PolicyUpdate(seen.policy, UUID(team) if team else None)
        return None

    async def _stored(self, seen: _Seen) -> list[Update]:
        """Return what is stored, where it is new."""
        news: list[Update] = []
        config: domain.Config | None = None
        try:
            config = await self.fetch()
        except errors.UnreadableError as error:
            if seen.config != str(error):
                _log.warning("config_unreadable", reason=str(error))
            seen.config = str(error)
        if config and config.version != seen.config:
            seen.config = config.version
            news.append(config)
        policy = int(await self._client.get(POLICY) or 0)
        if policy != seen.policy:
            seen.policy = policy
            news.append(domain.PolicyUpdate(policy, None))
        return news
