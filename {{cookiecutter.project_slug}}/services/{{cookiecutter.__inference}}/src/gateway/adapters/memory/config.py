"""The config store in variables."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import replace
from uuid import UUID

from ... import domain, errors
from ...ports import Update


class MemoryConfigStore:
    """Keeps one config, and a queue for each subscriber."""

    def __init__(self) -> None:
        self.unreadable = False
        """Set it, and what is stored is no config, until the next is published."""
        self.policy = 0
        """The version of the newest policy update."""
        self._down = False
        self._config = domain.Config()
        self._subscribers: set[asyncio.Queue[Update]] = set()

    @property
    def down(self) -> bool:
        """Set it, and every call fails as it does when the server is gone."""
        return self._down

    @down.setter
    def down(self, down: bool) -> None:
        back, self._down = self._down and not down, down
        if back:
            self._tell(*self._stored())

    async def fetch(self) -> domain.Config:
        """Return the config that was published last, or the default one."""
        await self.ping()
        if self.unreadable:
            raise errors.UnreadableError("config")
        return self._config

    async def publish(self, config: domain.Config) -> domain.Config:
        """Store a config and tell everybody."""
        await self.ping()
        self.unreadable = False
        self._config = replace(config, version=self._config.version + 1)
        self._tell(self._config)
        return self._config

    async def publish_policy(self, team: UUID | None) -> domain.PolicyUpdate:
        """Count up the version of the policies and tell everybody."""
        await self.ping()
        self.policy += 1
        update = domain.PolicyUpdate(self.policy, team)
        self._tell(update)
        return update

    async def updates(self) -> AsyncGenerator[Update]:
        """Yield what changes, without end."""
        mine = asyncio.Queue[Update]()
        self._subscribers.add(mine)
        try:
            if not self._down:
                for update in self._stored():
                    mine.put_nowait(update)
            while True:
                yield await mine.get()
        finally:
            self._subscribers.remove(mine)

    async def ping(self) -> None:
        """Return unless `down` is set."""
        if self._down:
            raise errors.UnavailableError("memory")

    def _stored(self) -> list[Update]:
        policy = domain.PolicyUpdate(self.policy, None)
        return [policy] if self.unreadable else [self._config, policy]

    def _tell(self, *updates: Update) -> None:
        for each in self._subscribers:
            for update in updates:
                each.put_nowait(update)
