"""Budgets are paid ahead: what a request may cost is set aside, then what it did cost is booked.

A process says of what it has set aside that it is still at work. Of one that was killed the others
give it back, once it has been silent for `TTL`.
"""

from uuid import UUID, uuid4

import structlog

from . import errors
from .ports import Clock, Spending

TTL = 30.0
"""Seconds after which what is set aside is given back, unless it is renewed."""
BEAT = 10.0
"""Seconds between two times that a process renews, and gives back what others have left."""

log = structlog.get_logger("reservations")


class Reservations:
    """What one process has set aside."""

    def __init__(self, spending: Spending, clock: Clock) -> None:
        self._spending, self._clock = spending, clock
        self._kept: dict[UUID, int | None] = {}
        """By how much each is to be booked, if the database did not answer; None while at work."""
        self._late = False
        """Whether something is due that the database did not take."""

    async def reserve(self, team: UUID, microcents: int) -> UUID:
        """Set this much of a team's budget aside, or raise as the port does; then `settle`."""
        reservation = uuid4()
        try:
            await self._spending.reserve(reservation, team, microcents, ttl=TTL)
        except (errors.BudgetError, errors.NotFoundError):
            raise
        except BaseException:
            # Nobody knows whether it is set aside.
            self._kept[reservation] = 0
            self._late = True
            raise
        if self._late:
            # It answers again. At the next beat this process may be gone, and what is due with it.
            self._late = False
            try:
                await self._book(*self._kept)
            except errors.UnavailableError:
                self._late = True
        self._kept[reservation] = None
        return reservation

    async def settle(self, reservation: UUID, microcents: int) -> None:
        """Book what was used in the place of what was set aside: now, or when it is possible."""
        self._kept[reservation] = microcents
        try:
            await self._book(reservation)
        except errors.UnavailableError as error:
            self._late = True
            log.warning("not booked yet", microcents=microcents, cause=repr(error.__cause__))

    async def run(self) -> None:
        """Renew, book and give back, for as long as the process lives."""
        while True:
            try:
                await self.beat()
            except errors.UnavailableError as error:
                log.warning("not renewed", cause=repr(error.__cause__))
            except Exception:
                log.exception("not renewed")
            await self._clock.sleep(BEAT)

    async def beat(self) -> None:
        """Renew what is at work, book what is due, give back what others have left."""
        await self._spending.renew([*self._kept], ttl=TTL)
        await self._book(*self._kept)
        if count := await self._spending.give_back():
            log.warning("given back", reservations=count)

    async def end(self) -> None:
        """Book what is due, for the last time."""
        try:
            await self._book(*self._kept)
        except errors.UnavailableError as error:
            lost = sum(due or 0 for due in self._kept.values())
            log.error("not booked", microcents=lost, cause=repr(error.__cause__))  # noqa: TRY400 - the cause says it

    async def _book(self, *reservations: UUID) -> None:
        for reservation in reservations:
            # Repeating it changes nothing, so that an answer may get lost.
            if (microcents := self._kept.get(reservation)) is not None:
                await self._spending.settle(reservation, microcents)
                self._kept.pop(reservation, None)
