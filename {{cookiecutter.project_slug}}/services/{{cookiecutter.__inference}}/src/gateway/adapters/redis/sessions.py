"""The revoked session tokens on Redis."""

from datetime import datetime, timedelta

from redis.asyncio import Redis

from ... import ports
from .connection import PREFIX

MARGIN = timedelta(minutes=1)
"""For how long a token is remembered that has expired: the clocks of other processes may lag."""


class RedisSessions:
    """Keeps one key per revoked token, which expires after the token."""

    def __init__(self, client: Redis, clock: ports.Clock) -> None:
        self._client = client
        self._clock = clock

    async def revoke(self, token_id: str, until: datetime) -> None:
        """Revoke a token."""
        left = until + MARGIN - self._clock.now()
        # Redis takes no time that is over, and the token is good for nothing then.
        if left > timedelta(milliseconds=1):
            await self._client.set(_key(token_id), "", px=left)

    async def is_revoked(self, token_id: str) -> bool:
        """Return whether a token was revoked."""
        return bool(await self._client.exists(_key(token_id)))


def _key(token_id: str) -> str:
    return f"{PREFIX}revoked:{token_id}"
