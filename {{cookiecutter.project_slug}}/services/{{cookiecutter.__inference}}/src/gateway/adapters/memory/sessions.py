"""The revoked session tokens in a dict."""

from datetime import datetime

from ... import errors, ports


class MemorySessions:
    """Keeps revoked tokens until they expire."""

    def __init__(self, clock: ports.Clock) -> None:
        self.down = False
        """Set it, and every call fails as it does when the server is gone."""
        self._clock = clock
        self._revoked: dict[str, datetime] = {}

    async def revoke(self, token_id: str, until: datetime) -> None:
        """Revoke a token."""
        self._check()
        now = self._clock.now()
        self._revoked = {id_: end for id_, end in self._revoked.items() if end > now}
        self._revoked[token_id] = until

    async def is_revoked(self, token_id: str) -> bool:
        """Return whether a token was revoked."""
        self._check()
        return self._revoked.get(token_id, self._clock.now()) > self._clock.now()

    def _check(self) -> None:
        if self.down:
            raise errors.UnavailableError("memory")
