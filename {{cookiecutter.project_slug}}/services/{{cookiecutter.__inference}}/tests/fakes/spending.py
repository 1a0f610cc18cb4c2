"""What is spent of the budgets, in memory."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from gateway import domain, errors

if TYPE_CHECKING:
    from .database import MemoryDatabase


@dataclass(slots=True)
class _Reservation:
    team: UUID
    microcents: int
    expires_at: datetime


class MemorySpending:
    """Keeps what is set aside in a dict."""

    def __init__(self, database: "MemoryDatabase") -> None:
        self._database = database
        self._reservations: dict[UUID, _Reservation] = {}

    async def reserve(self, reservation: UUID, team: UUID, microcents: int, *, ttl: float) -> None:
        payer = await self._database.teams.get(team)
        if payer.spent_microcents + microcents > payer.budget_cents * domain.MICROCENTS:
            raise errors.BudgetError
        self._reservations[reservation] = _Reservation(team, microcents, self._expiry(ttl))
        await self._book(team, microcents)

    async def settle(self, reservation: UUID, microcents: int) -> None:
        await self._database.ping()
        if ended := self._reservations.pop(reservation, None):
            await self._book(ended.team, microcents - ended.microcents)

    async def renew(self, reservations: Sequence[UUID], *, ttl: float) -> None:
        await self._database.ping()
        for each in set(reservations) & self._reservations.keys():
            self._reservations[each].expires_at = self._expiry(ttl)

    async def give_back(self) -> int:
        await self._database.ping()
        now = self._database.now()
        expired = [e for e in self._reservations.values() if e.expires_at < now and e.microcents]
        for each in expired:
            await self._book(each.team, -each.microcents)
            each.microcents = 0
        return len(expired)

    def _expiry(self, ttl: float) -> datetime:
        return self._database.now() + timedelta(seconds=ttl)

    async def _book(self, team: UUID, microcents: int) -> None:
        if team in self._database.teams:
            payer = await self._database.teams.get(team)
            spent = min(max(payer.spent_microcents + microcents, 0), 2**63 - 1)
            self._database.teams.put(replace(payer, spent_microcents=spent))
