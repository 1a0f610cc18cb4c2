"""Announcements on Redis: a key with the newest version, which limiter.lua reads."""

from uuid import uuid4

from redis.asyncio import Redis

from .connection import PREFIX

VERSION = PREFIX + "version"


class RedisAnnouncements:
    """Announcements port. Versions are random: none is repeated after Redis has lost its data."""

    def __init__(self, client: Redis) -> None:
        self._client = client

    async def announce(self) -> str:
        version = uuid4().hex
        await self._client.set(VERSION, version)
        return version

    async def version(self) -> str:
        return str(await self._client.get(VERSION) or "")

    async def ping(self) -> None:
        await self._client.ping()
