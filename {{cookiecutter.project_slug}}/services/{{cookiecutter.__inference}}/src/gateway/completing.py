"""The way of one request: route, admit, spend, infer, settle."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from uuid import UUID

import structlog

from . import domain, errors
from .background import Background
from .metrics import Metrics
from .policy import Policy
from .ports import Admission, Chunk, Completion, Inference, InferenceBackend, Message, Ports
from .slots import Slots

log = structlog.get_logger("completing")


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a client asks for."""

    model: str
    """By the name that the client has for it."""
    prompt: str | tuple[Message, ...]
    max_tokens: int | None = None
    parameters: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Order:
    """A question as the policy of the moment has it."""

    team: UUID
    limits: domain.Limits
    backend: InferenceBackend
    provider: str
    inference: Inference
    prompt_tokens: int
    """No fewer than it will be."""
    price: int
    """In microcents a token."""

    @property
    def tokens(self) -> int:
        """Return how many it can take at most."""
        return self.prompt_tokens + self.inference.max_tokens


class Turn:
    """A request that was let through. Whoever has one closes it, however it ends."""

    def __init__(self, completing: "Completing", order: Order) -> None:
        self._completing = completing
        self._open = True
        self.order = order
        self.admission: Admission
        self.tokens = 0
        """That the limiter has counted."""
        self.microcents = 0
        """That were taken of the budget."""
        self.usage = domain.Usage(0, 0)

    async def complete(self) -> Completion:
        """Return the whole answer; raises what the backend does."""
        completion = await self.order.backend.complete(self.order.inference)
        self.usage = completion.usage
        return completion

    async def stream(self) -> AsyncGenerator[Chunk, None]:
        """Yield the answer in pieces; raises what the backend does."""
        made = 0
        # The backend stops at once, not when the iterator is collected some day.
        async with aclosing(self.order.backend.stream(self.order.inference)) as chunks:
            async for chunk in chunks:
                made += 1
                # Until the backend says how many there were, a piece counts as a token.
                self.usage = chunk.usage or domain.Usage(self.order.prompt_tokens, made)
                yield chunk

    async def close(self) -> None:
        """Free the slot, and give back what was counted or taken and then not used."""
        if self._open:
            self._open = False
            await self._completing.close(self, self.usage)


class Completing:
    """Lets requests through, and settles them."""

    def __init__(
        self, ports: Ports, policy: Policy, slots: Slots, metrics: Metrics, background: Background
    ) -> None:
        self._ports = ports
        self._policy = policy
        self._slots = slots
        self._metrics = metrics
        self._background = background

    async def admit(self, key_hash: str, question: Question) -> Turn:
        """Let a request through.

        Raises:
            BudgetError: the budget does not pay for what it may take at most.
            CredentialError: the key is not valid.
            LimitedError: the quota is used up.
            OverloadedError: no slot is free.
            UnavailableError: the database or the limiter does not answer.
            UnknownModelError: the team has no such model.
            UnreadableError: nobody knows the config.
        """
        version = self._policy.version
        order = await self._order(key_hash, question)
        self._slots.take()
        turn = Turn(self, order)
        try:
            await self._count(turn)
            if turn.admission.policy != version:
                self._policy.renew(turn.admission.policy)
                await self._judge_anew(turn, await self._order(key_hash, question))
            await self._pay(turn)
        except BaseException:
            await turn.close()
            raise
        return turn

    async def close(self, turn: Turn, usage: domain.Usage) -> None:
        """See `Turn.close`."""
        self._slots.free()
        if not turn.tokens:
            return
        self._metrics.used(turn.order.provider, usage)
        tokens = usage.total - turn.tokens
        microcents = usage.total * turn.order.price - turn.microcents if turn.microcents else 0
        if tokens or microcents:
            await self._background.run(self._settle(turn, tokens, microcents))

    async def _order(self, key_hash: str, question: Question) -> Order:
        grant = await self._policy.grant(key_hash)
        team = grant.key.team_id
        route = await self._policy.route(team, question.model)
        config = await self._policy.config()
        backend = self._ports.backends.get(route.target.provider)
        if backend is None:
            raise errors.UnknownModelError(question.model)
        inference = Inference(
            model=route.target.model,
            prompt=question.prompt,
            max_tokens=question.max_tokens or route.max_tokens or config.max_tokens,
            parameters={**route.parameters, **question.parameters},
        )
        return Order(
            team,
            grant.limits or config.limits,
            backend,
            route.target.provider,
            inference,
            backend.tokens_at_most(inference),
            config.prices.get(route.target.model, 0),
        )

    async def _count(self, turn: Turn) -> None:
        order = turn.order
        turn.admission = await self._ports.limiter.admit(order.team, order.limits, order.tokens)
        if not turn.admission.refused:
            turn.tokens = order.tokens

    async def _judge_anew(self, turn: Turn, order: Order) -> None:
        """Judge by the policy of now a request that was judged by that of before."""
        before, turn.order = turn.order, order
        if turn.admission.refused:
            await self._count(turn)
        else:
            turn.admission = _under(order.limits, before.limits, turn.admission)

    async def _pay(self, turn: Turn) -> None:
        if turn.admission.refused:
            raise errors.LimitedError(turn.order.limits, turn.admission)
        if microcents := turn.order.tokens * turn.order.price:
            await self._ports.database.spend(turn.order.team, microcents)
            turn.microcents = microcents

    async def _settle(self, turn: Turn, tokens: int, microcents: int) -> None:
        team = turn.order.team
        try:
            if tokens:
                await self._ports.limiter.settle(team, turn.admission.at, tokens)
        except Exception:
            # It is out of the window in a minute anyway.
            log.exception("tokens not settled", team=str(team), tokens=tokens)
        try:
            if microcents:
                await self._ports.database.spend(team, microcents)
        except errors.BudgetError:
            # It took more than was set aside for it, and the answer is out.
            log.warning("budget overrun", team=str(team), microcents=microcents)
        except Exception:
            log.exception("budget not settled", team=str(team), microcents=microcents)


def _under(limits: domain.Limits, before: domain.Limits, admission: Admission) -> Admission:
    """Return what these limits say of a request that was counted under others."""
    if limits == before:
        return admission
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
