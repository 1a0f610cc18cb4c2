"""Limit on the concurrent requests to backends."""

from uuid import UUID

from . import errors


class ConcurrencyLimit:
    """Slots, of which each team may take a share. Without a free slot, requests fail at once."""

    def __init__(self, size: int, share: int) -> None:
        self.size, self._share = size, share
        self.taken = 0
        self._teams: dict[UUID, int] = {}

    def take(self, team: UUID) -> None:
        """Take a slot, which the caller must free; raise if all, or the team's share, are taken."""
        if self.taken >= self.size:
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
