"""Servers that are not there, or that say nothing: every answer comes in time, and says so."""

import socket
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx2
import pytest
from sqlalchemy.ext.asyncio import async_sessionmaker

from stratakit.testing import eventually

from {{ cookiecutter.__package }} import ports
from {{ cookiecutter.__package }}.adapters import postgres, redis
from {{ cookiecutter.__package }}.api.routes import PATH
from {{ cookiecutter.__package }}.app import create_app

TIMEOUT = 0.02
PATIENCE = 2.0


@pytest.fixture
def refusing() -> int:
    """A port on which nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


@pytest.fixture
def silent() -> Iterator[int]:
    """A port that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture(params=["refusing", "silent"])
def port(request: pytest.FixtureRequest) -> int:
    """A port of a server that is at fault, in each way."""
    found: int = request.getfixturevalue(request.param)
    return found


@pytest.fixture
async def repository(port: int) -> AsyncIterator[ports.Repository]:
    """A repository on the server that is at fault."""
    url = f"postgresql://user:password@127.0.0.1:{port}/name"  # pragma: allowlist secret
    engine = postgres.connect(url, pool_size=1, timeout=TIMEOUT)
    yield postgres.PostgresRepository(async_sessionmaker(engine))
    await engine.dispose()


@pytest.fixture
async def idempotency(port: int) -> AsyncIterator[ports.IdempotencyStore]:
    """An idempotency store on the server that is at fault."""
    client = redis.connect(f"redis://127.0.0.1:{port}", timeout=TIMEOUT)
    yield redis.RedisIdempotency(client, ttl=1)
    await client.aclose()


async def ask(ports: ports.Ports, method: str, path: str, **options: Any) -> httpx2.Response:
    """Return the answer, which comes in time."""
    transport = httpx2.ASGITransport(app=create_app(ports))
    async with httpx2.AsyncClient(transport=transport, base_url="http://service") as client:
        start = time.monotonic()
        response = await client.request(method, path, **options)
        assert time.monotonic() - start < PATIENCE
        return response


async def test_requests_answer_503_without_postgres(
    repository: ports.Repository,
    redis_idempotency: ports.IdempotencyStore,
) -> None:
    response = await ask(ports.Ports(repository, redis_idempotency), "GET", PATH)
    assert response.status_code == 503
    assert response.json()["detail"] == "postgres is not available"
    assert response.headers["retry-after"]


async def test_a_request_with_a_key_answers_503_without_redis(
    postgres_repository: ports.Repository,
    idempotency: ports.IdempotencyStore,
) -> None:
    outside = ports.Ports(postgres_repository, idempotency)
    headers = {"Idempotency-Key": "key"}
    response = await ask(outside, "POST", PATH, json={"name": "lamp"}, headers=headers)
    assert response.status_code == 503
    assert response.json()["detail"] == "redis is not available"
    assert not await postgres_repository.page(limit=1)


async def test_other_requests_do_without_redis(
    postgres_repository: ports.Repository,
    idempotency: ports.IdempotencyStore,
) -> None:
    outside = ports.Ports(postgres_repository, idempotency)
    assert (await ask(outside, "POST", PATH, json={"name": "lamp"})).status_code == 201


async def test_ready_names_postgres(
    repository: ports.Repository,
    redis_idempotency: ports.IdempotencyStore,
) -> None:
    response = await ask(ports.Ports(repository, redis_idempotency), "GET", "/health/ready")
    assert (response.status_code, response.json()["detail"]) == (503, "down: postgres")


async def test_ready_names_redis(
    postgres_repository: ports.Repository,
    idempotency: ports.IdempotencyStore,
) -> None:
    outside = ports.Ports(postgres_repository, idempotency)
    response = await ask(outside, "GET", "/health/ready")
    assert (response.status_code, response.json()["detail"]) == (503, "down: redis")


async def test_a_call_that_finds_no_free_connection_gives_up_in_time(
    postgres_url: str,
    redis_idempotency: ports.IdempotencyStore,
) -> None:
    engine = postgres.connect(postgres_url, pool_size=1, timeout=TIMEOUT)
    repository = postgres.PostgresRepository(async_sessionmaker(engine))
    # A busy server may need more than one try to answer in so little time.
    taken = await eventually(lambda: engine.connect().start())
    response = await ask(ports.Ports(repository, redis_idempotency), "GET", PATH)
    await taken.close()
    await engine.dispose()
    assert response.status_code == 503
