"""Processing of a completion request: route, admit, reserve, infer, settle."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from uuid import UUID

from . import domain, errors
from .metrics import Metrics
from .policy import Policy
from .ports import Admission, Chunk, Completion, Inference, InferenceBackend, Ports
from .reservations import Reservations

ESTIMATE = 256
"""Tokens to reserve for a choice without a limit. Tokens beyond that are charged, too."""


@dataclass(frozen=True, slots=True)
class RoutedRequest:
    """A request after routing by the current policy."""

    team: UUID
    limits: domain.Limits
    backend: InferenceBackend
    provider: str
    inference: Inference
    price: int
    """Microcents per token."""
    prompt_tokens: int
    """Upper bound on the tokens of the prompt."""

    @property
    def tokens(self) -> int:
        """Return the number of tokens to reserve: the maximum possible, if there is a limit."""
        most, n = self.inference.max_tokens, self.inference.n
        if most is None:
            # At most the quota: teams with a small one would never be admitted otherwise.
            most = max(1, min(ESTIMATE, (self.limits.tokens - self.prompt_tokens) // n))
        return self.prompt_tokens + most * n


@dataclass(eq=False)
class Admitted:
    """A request that was admitted. The caller must close it, however it ends."""

    service: "CompletionService"
    request: RoutedRequest
    admission: Admission = field(init=False)
    tokens: int = 0
    """Number of tokens that the limiter has counted."""
    reservation: UUID | None = None
    """Id of the budget reservation."""
    usage: domain.Usage = field(default=domain.Usage(0, 0))

    async def complete(self) -> Completion:
        """Return the whole completion; raise the errors of the backend."""
        try:
            completion = await self.request.backend.complete(self.request.inference)
        except asyncio.CancelledError:
            # The backend has read the prompt, although the client has left.
            self.usage = domain.Usage(self.request.prompt_tokens, 0)
            raise
        self.usage = completion.usage
        return completion

    async def stream(self) -> AsyncGenerator[Chunk, None]:
        """Yield the completion in chunks; raise the errors of the backend."""
        made = 0
        # Stop the backend at once, not when the iterator is garbage collected.
        async with aclosing(self.request.backend.stream(self.request.inference)) as chunks:
            async for chunk in chunks:
                made += 1
                # A chunk counts as one token until the backend reports the usage.
                self.usage = chunk.usage or domain.Usage(self.request.prompt_tokens, made)
                if chunk.usage:
                    # Before the last chunk is sent, so that a killed process cannot skip it.
                    await self._book()
                yield chunk

    async def close(self) -> None:
        """Free the slot, and give back the tokens and the budget that were not used."""
        self.service.concurrency.free(self.request.team)
        if self.tokens:
            self.service.metrics.used(self.request.provider, self.usage)
            if correction := self.usage.total - self.tokens:
                limiter = self.service.ports.limiter
                limiter.settle(self.request.team, self.admission.at, correction)
            await self._book()

    async def count(self, version: str | None) -> bool:
        """Have the limiter count or refuse the request; return whether the version is current."""
        routed, limiter = self.request, self.service.ports.limiter
        self.admission = await limiter.admit(routed.team, routed.limits, routed.tokens, version)
        if not self.admission.refused:
            self.tokens = routed.tokens
        return self.admission.refused != "version"

    async def pay(self) -> None:
        """Reserve the maximum cost; raise if the limiter refused, or if the budget is too small."""
        routed, limits = self.request, self.request.limits
        if self.admission.refused:
            # Waiting does not help a request that is larger than the whole quota.
            if limits.requests < 1:
                raise errors.QuotaError("requests", 1, limits.requests)
            if limits.tokens < routed.tokens:
                raise errors.QuotaError("tokens", routed.tokens, limits.tokens)
            raise errors.RateLimitedError(limits, self.admission)
        if microcents := routed.tokens * routed.price:
            reserve = self.service.reservations.reserve
            self.reservation = await reserve(routed.team, microcents)

    async def _book(self) -> None:
        """Charge the usage to the budget, once."""
        reservation, self.reservation = self.reservation, None
        if reservation:
            booked = self.usage.total * self.request.price
            await self.service.reservations.settle(reservation, booked)


class ConcurrencyLimit:
    """Slots, of which each team may take a share. Without a free slot, requests fail at once."""

    def __init__(self, size: int, share: int) -> None:
        self._size, self._share = size, share
        self.taken = 0
        self._teams: dict[UUID, int] = {}

    def take(self, team: UUID) -> None:
        """Take a slot, which the caller must free; raise if all, or the team's share, are taken."""
        if self.taken >= self._size:
            raise errors.OverloadedError
        taken = self._teams.get(team, 0)
        if taken >= self._share:
            raise errors.ThrottledError("concurrent requests from your team", 1)
        self.taken += 1
        self._teams[team] = taken + 1

    def free(self, team: UUID) -> None:
        """Free a slot."""
        self.taken -= 1
        if left := self._teams.pop(team) - 1:
            self._teams[team] = left


class CompletionService:
    """Admission of completion requests, with the state that it needs."""

    def __init__(self, ports: Ports, slots: int, slots_of_team: int) -> None:
        self.ports, self.policy = ports, Policy(ports)
        self.concurrency = ConcurrencyLimit(slots, slots_of_team)
        self.metrics = Metrics(slots, lambda: self.concurrency.taken)
        self.reservations = Reservations(ports.database, ports.clock)

    async def admit(self, key_hash: str, asked: Inference) -> Admitted:
        """Admit a request, or raise the ServiceError that says why not."""
        version = self.policy.version
        try:
            routed = await self._route(key_hash, asked)
        except errors.UnavailableError:
            raise
        except errors.ServiceError:
            # Not admitted, so not compared with the newest version.
            await self.policy.refresh()
            if version == self.policy.version:
                raise
            version = self.policy.version
            routed = await self._route(key_hash, asked)
        self.concurrency.take(routed.team)
        admitted = Admitted(self, routed)
        try:
            if not await admitted.count(version):
                self.policy.renew(admitted.admission.version)
                admitted.request = await self._route(key_hash, asked)
                # By any version now: it has everything that had changed when the request arrived,
                # and constant changes must not keep it from being admitted.
                await admitted.count(None)
            await admitted.pay()
        except BaseException:
            await admitted.close()
            raise
        return admitted

    async def _route(self, key_hash: str, asked: Inference) -> RoutedRequest:
        grant = await self.policy.grant(key_hash)
        team = grant.key.team_id
        target, defaults = await self.policy.route(team, asked.model)
        config = await self.policy.config()
        backend = self.ports.backends.get(target.provider)
        if backend is None:
            raise errors.UnknownModelError(asked.model)
        price = config.prices.get(target.model)
        if price is None:
            why = "has no price; an administrator must set one, or 0 if it is free"
            raise errors.UnknownModelError(asked.model, why)
        given = {name: name for name, value in asked.parameters.items() if value is not None}
        for feature, asking in {**given, **asked.features}.items():
            if not backend.supports(feature):
                raise errors.UnsupportedError(asking, asked.model)
        most = defaults.get("max_tokens")
        # Not isinstance(): a bool is an int as well.
        limit = most if type(most) is int and 1 <= most <= domain.INTEGER_LIMIT else None
        parameters = {**defaults, **asked.parameters}
        inference = replace(
            asked,
            model=target.model,
            max_tokens=asked.max_tokens or limit or config.max_tokens,
            parameters={name: each for name, each in parameters.items() if each is not None},
        )
        limits, bound = grant.limits or config.limits, backend.tokens_at_most(inference)
        return RoutedRequest(team, limits, backend, target.provider, inference, price, bound)
