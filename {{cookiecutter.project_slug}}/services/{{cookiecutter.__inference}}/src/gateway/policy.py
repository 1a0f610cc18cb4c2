"""What decides on requests: keys, quotas, aliases and the config, kept at hand.

The truth is in the database. Each admission tells the version of the newest announcement, so that a
change holds for the very next request of any process; `follow` tells it too.
"""

from collections.abc import Awaitable, Callable, Hashable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeVar
from uuid import UUID

from . import domain, errors
from .accounts import same
from .ports import Grant, Ports

KEPT = timedelta(minutes=1)
"""A change whose publication was lost (Redis was down after the commit) holds after this time."""

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


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
        self._ports = ports
        self._forget("")

    def renew(self, version: str) -> None:
        """Forget all, unless it is of this version.

        Any other one does: Redis may have lost its data, or have those of an hour ago.
        """
        if version != self.version:
            self._forget(version)

    async def grant(self, key_hash: str) -> Grant:
        """Return what a key gives access to; raise CredentialError for one that is not valid."""
        now = self._ports.clock.now()
        if now >= self._until:
            self._forget(self.version)
        grant = await _kept(self._grants, key_hash, self.fresh_grant)
        if not grant.key.good(now):
            raise errors.CredentialError("this API key is not valid")
        return grant

    async def fresh_grant(self, key_hash: str) -> Grant:
        """Return the same, as the database has it now."""
        # One that there is not is not remembered: others choose how many keys they try.
        with suppress(errors.NotFoundError):
            grant = await self._ports.database.grant(key_hash)
            # What an index finds, it may have found in a time that tells of what is stored.
            if same(grant.key.hash, key_hash) and grant.key.good(self._ports.clock.now()):
                return grant
        raise errors.CredentialError("this API key is not valid")

    async def route(self, team: UUID, model: str) -> Route:
        """Return where a team's requests for a model go; raise UnknownModelError if nowhere."""
        aliases = await _kept(self._aliases, team, self._ports.database.aliases.routes)
        if alias := aliases.get(model):
            most = alias.parameters.get("max_tokens")
            # A bool is an int as well.
            limit = most if type(most) is int and 1 <= most <= domain.INTEGER_LIMIT else None
            return Route(domain.Target(alias.provider, alias.target), alias.parameters, limit)
        if target := (await self.config()).models.get(model):
            return Route(target)
        raise errors.UnknownModelError(model)

    async def config(self) -> domain.Config:
        """Return the config; raise UnreadableError if what is stored is none."""
        return await _kept(self._configs, None, lambda _: self._ports.database.config())

    async def follow(self) -> None:
        """Forget all at each announcement, for as long as the process lives."""
        async for version in self._ports.announcements.versions():
            self.renew(version)

    def _forget(self, version: str) -> None:
        self.version = version
        """Nothing that is remembered is older."""
        self._until = self._ports.clock.now() + KEPT
        # New ones, so that what is just being loaded is kept where nobody looks any more.
        self._configs: dict[None, domain.Config] = {}
        self._grants: dict[str, Grant] = {}
        self._aliases: dict[UUID, Mapping[str, domain.ModelAlias]] = {}


async def _kept(kept: dict[K, V], key: K, fetch: Callable[[K], Awaitable[V]]) -> V:
    if key not in kept:
        kept[key] = await fetch(key)
    return kept[key]
