"""The way of one request: route, admit, spend, infer, settle."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from uuid import UUID

from . import domain, errors
from .background import Background
from .concurrency import ConcurrencyLimit
from .metrics import Metrics
from .policy import Policy
from .ports import Admission, Chunk, Completion, Inference, InferenceBackend, Ports
from .reservations import Reservations

ESTIMATE = 256
"""Tokens that are set aside for a choice that nobody limits. What it takes beyond is booked."""

NOTHING = domain.Usage(0, 0)


@dataclass(frozen=True, slots=True)
class RoutedRequest:
    """A request as the policy of the moment has it."""

    team: UUID
    limits: domain.Limits
    backend: InferenceBackend
    provider: str
    inference: Inference
    price: int
    """In microcents a token."""
    prompt_tokens: int
    """No fewer than it will be."""

    @property
    def tokens(self) -> int:
        """Return how many are set aside: all that it can take, if there is a limit."""
        most, n = self.inference.max_tokens, self.inference.n
        if most is None:
            # No more than the quota has: else nobody with a small one would get an answer.
            most = max(1, min(ESTIMATE, (self.limits.tokens - self.prompt_tokens) // n))
        return self.prompt_tokens + most * n


@dataclass(eq=False)
class Admitted:
    """A request that was let through. Whoever has one closes it, however it ends."""

    service: "CompletionService"
    request: RoutedRequest
    admission: Admission = field(init=False)
    tokens: int = 0
    """That the limiter has counted."""
    reservation: UUID | None = None
    """What was set aside of the budget."""
    usage: domain.Usage = NOTHING
    closed: bool = False

    async def complete(self) -> Completion:
        """Return the whole answer; raises what the backend does."""
        try:
            completion = await self.request.backend.complete(self.request.inference)
        except asyncio.CancelledError:
            # Who leaves has had the backend read the prompt.
            self.usage = domain.Usage(self.request.prompt_tokens, 0)
            raise
        self.usage = completion.usage
        return completion

    async def stream(self) -> AsyncGenerator[Chunk, None]:
        """Yield the answer in pieces; raises what the backend does."""
        made = 0
        # The backend stops at once, not when the iterator is collected some day.
        async with aclosing(self.request.backend.stream(self.request.inference)) as chunks:
            async for chunk in chunks:
                made += 1
                # Until the backend says how many there were, a piece counts as a token.
                self.usage = chunk.usage or domain.Usage(self.request.prompt_tokens, made)
                if chunk.usage:
                    # Before the client has it all: who was answered has paid, whatever is killed.
                    await self._book()
                yield chunk

    async def close(self) -> None:
        """Free the slot, and give back what was counted or taken and then not used."""
        if self.closed:
            return
        self.closed = True
        self.service.concurrency.free(self.request.team)
        if self.tokens:
            self.service.metrics.used(self.request.provider, self.usage)
            if correction := self.usage.total - self.tokens:
                limiter = self.service.ports.limiter
                limiter.settle(self.request.team, self.admission.at, correction)
            await self._book()

    async def count(self) -> None:
        """Let the limiter count it, or refuse."""
        routed, limiter = self.request, self.service.ports.limiter
        self.admission = await limiter.admit(routed.team, routed.limits, routed.tokens)
        if not self.admission.refused:
            self.tokens = routed.tokens

    async def pay(self) -> None:
        """Set aside what it may cost; raise if it was refused, or if the budget is too small."""
        routed, limits = self.request, self.request.limits
        if self.admission.refused:
            # No waiting helps who asks for more than the whole quota.
            if limits.requests < 1:
                raise errors.QuotaError("requests", 1, limits.requests)
            if limits.tokens < routed.tokens:
                raise errors.QuotaError("tokens", routed.tokens, limits.tokens)
            raise errors.RateLimitedError(limits, self.admission)
        if microcents := routed.tokens * routed.price:
            reserve = self.service.reservations.reserve
            self.reservation = await reserve(routed.team, microcents)

    async def _book(self) -> None:
        """Book what was used of the budget, once."""
        reservation, self.reservation = self.reservation, None
        if reservation:
            booked = self.usage.total * self.request.price
            settling = self.service.reservations.settle(reservation, booked)
            await self.service.background.run(settling)


class CompletionService:
    """Lets requests through, and has all that this takes."""

    def __init__(self, ports: Ports, slots: int, slots_of_team: int) -> None:
        self.ports, self.policy = ports, Policy(ports)
        self.concurrency = ConcurrencyLimit(slots, slots_of_team)
        self.metrics, self.background = Metrics(self.concurrency), Background()
        self.reservations = Reservations(ports.database.spending, ports.clock)

    async def admit(self, key_hash: str, asked: Inference) -> Admitted:
        """Let a request through, or raise the ServiceError that says why not."""
        version = self.policy.version
        routed = await self._route(key_hash, asked)
        self.concurrency.take(routed.team)
        admitted = Admitted(self, routed)
        try:
            await admitted.count()
            if admitted.admission.version != version:
                # It was judged by the policy of before.
                self.policy.renew(admitted.admission.version)
                admitted.request = await self._route(key_hash, asked)
                if admitted.admission.refused:
                    await admitted.count()
                elif routed.limits != (limits := admitted.request.limits):
                    admitted.admission = _under(limits, routed.limits, admitted.admission)
            await admitted.pay()
        except BaseException:
            await admitted.close()
            raise
        return admitted

    async def _route(self, key_hash: str, asked: Inference) -> RoutedRequest:
        grant = await self.policy.grant(key_hash)
        team = grant.key.team_id
        route = await self.policy.route(team, asked.model)
        config = await self.policy.config()
        backend = self.ports.backends.get(route.target.provider)
        if backend is None:
            raise errors.UnknownModelError(asked.model)
        price = config.prices.get(route.target.model)
        if price is None:
            why = "has no price; an administrator sets one, be it 0"
            raise errors.UnknownModelError(asked.model, why)
        given = {name: name for name, value in asked.parameters.items() if value is not None}
        for feature, asking in {**given, **asked.features}.items():
            if not backend.supports(feature):
                raise errors.UnsupportedError(asking, asked.model)
        parameters = {**route.parameters, **asked.parameters}
        inference = replace(
            asked,
            model=route.target.model,
            max_tokens=asked.max_tokens or route.max_tokens or config.max_tokens,
            parameters={name: each for name, each in parameters.items() if each is not None},
        )
        limits, bound = grant.limits or config.limits, backend.tokens_at_most(inference)
        return RoutedRequest(team, limits, backend, route.target.provider, inference, price, bound)


def _under(limits: domain.Limits, before: domain.Limits, admission: Admission) -> Admission:
    """Return what these limits say of a request that was counted under others."""
    requests = admission.requests_left + limits.requests - before.requests
    tokens = admission.tokens_left + limits.tokens - before.tokens
    refused = "requests" if requests < 0 else "tokens" if tokens < 0 else None
    return replace(
        admission,
        refused=refused,
        requests_left=max(0, requests),
        tokens_left=max(0, tokens),
        retry_after=getattr(admission, f"{refused}_reset") if refused else 0,
    )
