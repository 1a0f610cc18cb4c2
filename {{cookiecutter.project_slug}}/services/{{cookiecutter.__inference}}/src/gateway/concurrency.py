"""How many requests may be with backends at once."""

from collections import Counter
from uuid import UUID

from . import errors


class ConcurrencyLimit:
    """Slots, of which one team has a share. Nobody waits: whoever comes too late tries again."""

    def __init__(self, size: int, share: int) -> None:
        self.size, self._share = size, share
        self._teams = Counter[UUID]()

    @property
    def taken(self) -> int:
        """Return how many are."""
        return self._teams.total()

    def take(self, team: UUID) -> None:
        """Take a slot, which the caller frees; raise if all are taken, or the team's share is."""
        if self.taken >= self.size:
            raise errors.OverloadedError
        if self._teams[team] >= self._share:
            raise errors.ThrottledError("requests of your team at once", 1)
        self._teams[team] += 1

    def free(self, team: UUID) -> None:
        """Give a slot back."""
        self._teams[team] -= 1
        if not self._teams[team]:
            del self._teams[team]
