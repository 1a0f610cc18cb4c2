"""Budget reservations: the maximum cost of a request is reserved, then its actual cost is charged.

A running process renews its reservations. Those of a process that was killed are given back by the
others, once they have not been renewed for `TTL`.
"""

import asyncio
from uuid import UUID, uuid4

import structlog

from . import errors
from .ports import Clock, Database

TTL = 30.0
"""Seconds after which a reservation is given back, unless it is renewed."""
BEAT = 10.0
"""Seconds between heartbeats, which renew reservations and give back those left by others."""

log = structlog.get_logger("reservations")


class Reservations:
    """Reservations of one process."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database, self._clock = database, clock
        self._kept: dict[UUID, int | None] = {}
        """Amount to charge for each, if the database did not respond; None for those in flight."""
        self._late = False
        """Whether a charge is due that the database did not accept, or that was cancelled."""

    async def reserve(self, team: UUID, microcents: int) -> UUID:
        """Reserve part of a team's budget, for the caller to settle; raise as the port does."""
        if self._late:
            # Charge first: the process may be gone at the next beat, and the budget may be needed.
            self._late = False
            try:
                await self._book(*self._kept)
            except (errors.UnavailableError, asyncio.CancelledError):
                self._late = True
                raise
        reservation = uuid4()
        try:
            await self._database.reserve(reservation, team, microcents, ttl=TTL)
        except errors.BudgetError:
            raise
        except BaseException:
            # It may have been reserved or not.
            self._kept[reservation] = 0
            self._late = True
            raise
        self._kept[reservation] = None
        return reservation

    async def settle(self, reservation: UUID, microcents: int) -> None:
        """Charge what was used in place of what was reserved: now, or as soon as possible."""
        self._kept[reservation] = microcents
        try:
            await self._book(reservation)
        except asyncio.CancelledError:
            self._late = True
            raise
        except errors.UnavailableError as error:
            self._late = True
            log.warning("not booked yet", microcents=microcents, cause=repr(error.__cause__))

    async def run(self) -> None:
        """Renew, charge and give back, for as long as the process lives."""
        while True:
            try:
                await self.beat()
            except errors.UnavailableError as error:
                log.warning("not renewed", cause=repr(error.__cause__))
            except Exception:
                log.exception("not renewed")
            await self._clock.sleep(BEAT)

    async def beat(self) -> None:
        """Renew reservations, charge what is due, give back what other processes have left."""
        await self._database.renew([*self._kept], ttl=TTL)
        await self._book(*self._kept)
        if count := await self._database.give_back():
            log.warning("given back", reservations=count)

    async def end(self) -> None:
        """Charge what is due, for the last time."""
        try:
            # Requests that end meanwhile are due, too.
            while any(due is not None for due in self._kept.values()):
                await self._book(*self._kept)
        except errors.UnavailableError as error:
            lost = sum(due or 0 for due in self._kept.values())
            log.error("not booked", microcents=lost, cause=repr(error.__cause__))  # noqa: TRY400 - the cause says it

    async def _book(self, *reservations: UUID) -> None:
        for reservation in reservations:
            # Idempotent, so that a lost response does no harm.
            if (microcents := self._kept.get(reservation)) is not None:
                await self._database.settle(reservation, microcents)
                self._kept.pop(reservation, None)
