"""The connections of a service in production, and their end."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from fastapi import FastAPI
from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncEngine

from . import postgres, redis
from .settings import ServiceSettings


@dataclass(frozen=True, slots=True)
class Connections:
    """To each server that the settings name."""

    engine: AsyncEngine
    redis: Redis

    @asynccontextmanager
    async def lifespan(self, _: FastAPI) -> AsyncIterator[None]:
        """Close them when the application ends: FastAPI's `lifespan`."""
        try:
            yield
        finally:
            await self.redis.aclose()
            await self.engine.dispose()


def connect(settings: ServiceSettings, name: str) -> Connections:
    """Return connections that are made when they are first used; `name` says whose they are."""
    engine = postgres.connect(
        settings.database_url.get_secret_value(),
        name=name,
        pool_size=settings.database_pool_size,
        timeout=settings.server_timeout,
    )
    url = str(settings.redis_url.get_secret_value())
    return Connections(engine, redis.connect(url, timeout=settings.server_timeout))
