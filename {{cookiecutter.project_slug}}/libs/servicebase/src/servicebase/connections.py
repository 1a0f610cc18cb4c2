"""Connections of a service in production, closed when its application ends."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from . import postgres, redis
from .settings import ServiceSettings


class Connections:
    """PostgreSQL and Redis connections, opened on first use; PostgreSQL sees them as `name`."""

    def __init__(self, settings: ServiceSettings, name: str) -> None:
        url, timeout = settings.database_url.get_secret_value(), settings.server_timeout
        pool_size = settings.database_pool_size
        self.engine = postgres.connect(url, name=name, pool_size=pool_size, timeout=timeout)
        self.redis = redis.connect(str(settings.redis_url.get_secret_value()), timeout=timeout)

    @asynccontextmanager
    async def lifespan(self, _: FastAPI) -> AsyncIterator[None]:
        """Close the connections when the application ends: FastAPI's `lifespan`."""
        try:
            yield
        finally:
            await self.redis.aclose()
            await self.engine.dispose()
