"""Cache of what decides on requests: keys, quotas, aliases and the config.

The database is the source of truth. Each admission compares the version of the cache with that of
the newest announcement, and a refusal before that does so by `refresh`, so that a change applies to
the very next request of any process.
"""

from collections.abc import Awaitable, Callable, Hashable, Mapping
from contextlib import suppress
from datetime import timedelta
from typing import TypeVar
from uuid import UUID

from . import domain, errors
from .accounts import same
from .ports import Grant, Ports

KEPT = timedelta(seconds=10)
"""Time until a change applies whose announcement was lost: Redis was down after the commit, or has
come back with older data."""

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Policy:
    """Cache of grants, aliases and the config until the next announcement.

    Data that was loaded while a newer version arrived is returned, but not cached: it may be from
    before the change. Callers have the version from before compared.
    """

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self._forget("")

    def renew(self, version: str) -> None:
        """Clear the cache unless it has this version.

        The version need not be newer: Redis may have lost its data, or have older data restored.
        """
        if version != self.version:
            self._forget(version)

    async def refresh(self) -> None:
        """Clear the cache if it is outdated."""
        self.renew(await self._ports.limiter.version())

    async def grant(self, key_hash: str) -> Grant:
        """Return the grant of a key; raise CredentialError if the key is not valid."""
        now = self._ports.clock.now()
        if now >= self._until:
            self._forget(self.version)
        grant = await _kept(self._grants, key_hash, self.fresh_grant)
        # Its expiry may have been changed.
        return grant if grant.key.good(now) else await self.fresh_grant(key_hash)

    async def fresh_grant(self, key_hash: str) -> Grant:
        """Return the same, read from the database."""
        # Unknown keys are not cached: an attacker could fill the memory with them.
        with suppress(errors.NotFoundError):
            grant = await self._ports.database.grant(key_hash)
            # In constant time, since the time of the index lookup may depend on stored hashes.
            if same(grant.key.hash, key_hash) and grant.key.good(self._ports.clock.now()):
                return grant
        raise errors.CredentialError("this API key is not valid")

    async def route(self, team: UUID, model: str) -> tuple[domain.Target, Mapping[str, object]]:
        """Return a team's target for a model and default parameters, or raise UnknownModelError."""
        aliases = await _kept(self._aliases, team, self._ports.database.aliases.routes)
        if alias := aliases.get(model):
            return domain.Target(alias.provider, alias.target), alias.parameters
        if target := (await self.config()).models.get(model):
            return target, {}
        raise errors.UnknownModelError(model)

    async def config(self) -> domain.Config:
        """Return the config; raise UnreadableError if the stored one is invalid."""
        return await _kept(self._configs, None, lambda _: self._ports.database.config())

    def _forget(self, version: str) -> None:
        self.version = version
        """Oldest version that cached data may have."""
        self._until = self._ports.clock.now() + KEPT
        # New dicts, so that loads in progress end up in the old ones, which are discarded.
        self._configs: dict[None, domain.Config] = {}
        self._grants: dict[str, Grant] = {}
        self._aliases: dict[UUID, Mapping[str, domain.ModelAlias]] = {}


async def _kept(kept: dict[K, V], key: K, fetch: Callable[[K], Awaitable[V]]) -> V:
    if key not in kept:
        kept[key] = await fetch(key)
    return kept[key]
