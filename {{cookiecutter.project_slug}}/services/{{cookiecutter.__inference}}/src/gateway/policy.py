"""What decides on requests: keys, quotas, aliases and the config, kept at hand.

The truth is in the database. Each admission tells the version of the newest announcement, so that a
change holds for the very next request of any process; `follow` tells it too.
"""

from collections.abc import Awaitable, Callable, Hashable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeVar
from uuid import UUID

import structlog

from . import domain, errors
from .accounts import same
from .ports import Database, Grant, Ports

KEPT = timedelta(minutes=1)
"""A change whose publication was lost (Redis was down after the commit) holds after this time."""

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

log = structlog.get_logger("policy")


@dataclass(frozen=True, slots=True)
class Route:
    """Where requests for a model go, and what they get that do not say otherwise."""

    target: domain.Target
    parameters: Mapping[str, object] = field(default_factory=dict)
    max_tokens: int | None = None


class Policy:
    """Looks up what decides, and remembers it until something is published.

    What was loaded while a newer version came in is used, but not remembered: nobody knows from
    which side of the change it is. Whoever uses it compares the versions before and after.
    """

    def __init__(self, ports: Ports) -> None:
        self._database: Database = ports.database
        self._announcements = ports.announcements
        self._clock = ports.clock
        self.version = ""
        """Nothing that is remembered is older."""
        self._generation = 0
        self._until = datetime.min.replace(tzinfo=self._clock.now().tzinfo)
        self._configs: dict[None, domain.Config] = {}
        self._grants: dict[str, Grant] = {}
        self._routes: dict[UUID, Mapping[str, Route]] = {}

    def renew(self, version: str) -> None:
        """Forget all, unless it is of this version.

        Any other one does: Redis may have lost its data, or have those of an hour ago.
        """
        if version != self.version:
            self._forget(version)

    async def grant(self, key_hash: str) -> Grant:
        """Return what a key gives access to.

        Raises:
            CredentialError: there is no such key, or it is revoked or expired.
        """
        now = self._clock.now()
        if now >= self._until:
            self._forget(self.version)
            self._until = now + KEPT
        grant = self._grants.get(key_hash)
        if grant is None:
            grant = await self._load(self._grants, key_hash, self.fresh_grant)
        if not grant.key.good(now):
            raise errors.CredentialError("this API key is not valid")
        return grant

    async def fresh_grant(self, key_hash: str) -> Grant:
        """Return the same, as the database has it now.

        Raises:
            CredentialError: as in `grant`.
        """
        try:
            grant = await self._database.grant(key_hash)
        except errors.NotFoundError:
            # Not remembered: others choose how many keys they try.
            raise errors.CredentialError("this API key is not valid") from None
        # What an index finds, it may have found in a time that tells of what is stored.
        if not same(grant.key.hash, key_hash) or not grant.key.good(self._clock.now()):
            raise errors.CredentialError("this API key is not valid")
        return grant

    async def route(self, team: UUID, model: str) -> Route:
        """Return where a team's requests for a model go.

        Raises:
            UnknownModelError: it has no such model.
            UnreadableError: what is stored as the config is none.
        """
        routes = self._routes.get(team)
        if routes is None:
            routes = await self._load(self._routes, team, self._fetch_routes)
        route = routes.get(model)
        if route:
            return route
        target = (await self.config()).models.get(model)
        if target is None:
            raise errors.UnknownModelError(model)
        return Route(target)

    async def config(self) -> domain.Config:
        """Return the config.

        Raises:
            UnreadableError: what is stored is none.
        """
        if not self._configs:
            return await self._load(self._configs, None, lambda _: self._database.config())
        return self._configs[None]

    async def follow(self) -> None:
        """Forget all at each announcement, for as long as the process lives."""
        async for version in self._announcements.versions():
            self.renew(version)

    def _forget(self, version: str) -> None:
        self._generation += 1
        self.version = version
        for kept in (self._configs, self._grants, self._routes):
            kept.clear()

    async def _load(self, kept: dict[K, V], key: K, fetch: Callable[[K], Awaitable[V]]) -> V:
        generation = self._generation
        value = await fetch(key)
        if generation == self._generation:
            kept[key] = value
        return value

    async def _fetch_routes(self, team: UUID) -> Mapping[str, Route]:
        return {
            name: _route(alias)
            for name, alias in (await self._database.aliases.routes(team)).items()
        }


def _route(alias: domain.ModelAlias) -> Route:
    most = alias.parameters.get("max_tokens")
    return Route(
        domain.Target(alias.provider, alias.target),
        alias.parameters,
        # A bool is an int as well.
        most if type(most) is int and 1 <= most <= domain.INTEGER_LIMIT else None,
    )
