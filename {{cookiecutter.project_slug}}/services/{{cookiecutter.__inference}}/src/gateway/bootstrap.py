"""The application on its production adapters. No other module imports them all."""

from contextlib import AsyncExitStack

import httpx2
from fastapi import FastAPI

from servicebase import logs
from servicebase.postgres import connect as connect_postgres
from servicebase.settings import load

from .adapters import echo, openai
from .adapters.clock import SystemClock
from .adapters.postgres import PostgresDatabase
from .adapters.redis import Client, RedisLimiter
from .app import NAME, create_app
from .ports import InferenceBackend, Ports
from .settings import Settings


def bootstrap(settings: Settings | None = None) -> FastAPI:
    """Return the application on PostgreSQL, Redis and real backends, for `uvicorn --factory`.

    It starts even if they are down, and reports that at /health/ready.

    Raises:
        SettingsError: a setting is missing or invalid.
    """
    settings = settings or load(Settings)
    logs.configure(settings.log_level)
    clock = SystemClock()
    engine = connect_postgres(
        settings.database_url.get_secret_value(),
        name=NAME,
        pool_size=settings.database_pool_size,
        timeout=settings.server_timeout,
    )
    redis = Client(str(settings.redis_url.get_secret_value()), timeout=settings.server_timeout)
    limiter = RedisLimiter(redis, clock)
    closing = AsyncExitStack()
    # Closed in reverse order.
    closing.push_async_callback(engine.dispose)
    closing.push_async_callback(redis.aclose)
    closing.push_async_callback(limiter.flush)
    backends: dict[str, InferenceBackend] = {echo.PROVIDER: echo.EchoBackend(clock, settings)}
    if settings.openai_url:
        key = settings.openai_api_key
        client = httpx2.AsyncClient(
            base_url=str(settings.openai_url),
            headers={"Authorization": f"Bearer {key.get_secret_value()}"} if key else {},
            timeout=settings.backend_timeout,
            # ConcurrencyLimit is the limit.
            limits=httpx2.Limits(max_connections=None),
        )
        closing.push_async_callback(client.aclose)
        backends[openai.PROVIDER] = openai.OpenAIBackend(client)

    ports = Ports(
        database=PostgresDatabase(engine), limiter=limiter, backends=backends, clock=clock
    )
    return create_app(ports, settings, around=closing)
