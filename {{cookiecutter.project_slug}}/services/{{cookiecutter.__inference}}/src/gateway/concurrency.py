"""How many requests may be with backends at once."""

from uuid import UUID

from . import errors


class ConcurrencyLimit:
    """Slots, of which one team has a share. Nobody waits: whoever comes too late tries again."""

    def __init__(self, size: int, share: int) -> None:
        self.size, self._share = size, share
        self.taken = 0
        self._teams: dict[UUID, int] = {}

    def take(self, team: UUID) -> None:
        """Take a slot, which the caller frees; raise if all are taken, or the team's share is."""
        if self.taken >= self.size:
            raise errors.OverloadedError
        taken = self._teams.get(team, 0)
        if taken >= self._share:
            raise errors.ThrottledError("requests of your team at once", 1)
        self.taken += 1
        self._teams[team] = taken + 1

    def free(self, team: UUID) -> None:
        """Give a slot back."""
        self.taken -= 1
        if left := self._teams.pop(team) - 1:
            self._teams[team] = left
