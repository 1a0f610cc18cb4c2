"""Application on the adapters of production. Nothing else imports them all."""

from fastapi import FastAPI
from sqlalchemy.ext.asyncio import async_sessionmaker

from servicebase import logs, redis
from servicebase.connections import Connections

from .adapters.postgres import PostgresRepository
from .app import NAME, create_app
from .ports import Ports
from .settings import Settings, load


def bootstrap(settings: Settings | None = None) -> FastAPI:
    """Return the application on PostgreSQL and Redis, for `uvicorn --factory`.

    It starts even if they are down, and reports that in /health/ready.

    Raises:
        SettingsError: a setting is missing or invalid.
    """
    settings = settings or load(Settings)
    logs.configure(settings.log_level)
    servers = Connections(settings, NAME)
    repository = PostgresRepository(async_sessionmaker(servers.engine))
    idempotency = redis.RedisIdempotency(
        servers.redis, prefix=f"{NAME}:idempotency:", ttl=settings.idempotency_ttl
    )
    return create_app(Ports(repository, idempotency), lifespan=servers.lifespan)
