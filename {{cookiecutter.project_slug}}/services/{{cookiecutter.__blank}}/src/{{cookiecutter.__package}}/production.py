"""The application on the adapters of production. Nothing else imports them all."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from sqlalchemy.ext.asyncio import async_sessionmaker

from . import logs
from .adapters import postgres, redis
from .app import create_app
from .ports import Ports
from .settings import Settings, load


def production(settings: Settings | None = None) -> FastAPI:
    """Return the application on PostgreSQL and Redis, for `uvicorn --factory`.

    It starts while they are down, and says so in /health/ready.

    Raises:
        SettingsError: a setting is missing or wrong.
    """
    settings = settings or load(Settings)
    logs.configure(settings.log_level)
    engine = postgres.connect(
        settings.database_url.get_secret_value(),
        pool_size=settings.database_pool_size,
        timeout=settings.server_timeout,
    )
    client = redis.connect(
        str(settings.redis_url.get_secret_value()),
        timeout=settings.server_timeout,
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        try:
            yield
        finally:
            await client.aclose()
            await engine.dispose()

    ports = Ports(
        repository=postgres.PostgresRepository(async_sessionmaker(engine)),
        idempotency=redis.RedisIdempotency(client, ttl=settings.idempotency_ttl),
    )
    return create_app(ports, lifespan=lifespan)
