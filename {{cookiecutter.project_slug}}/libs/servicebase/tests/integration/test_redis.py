"""Connections to Redis, and the idempotency store there, beyond its contract."""

import socket
import time
from collections.abc import Iterator
from uuid import UUID

import pytest
from redis.asyncio import Redis

from servicebase import errors
from servicebase.idempotency import Claim
from servicebase.redis import RedisIdempotency, connect

TIMEOUT = 0.02
PATIENCE = 2.0


async def test_a_claim_is_forgotten_in_time(redis_client: Redis) -> None:
    store = RedisIdempotency(redis_client, prefix="kit:", ttl=60)
    await store.claim("key", Claim(UUID(int=7), "print"))
    [name] = await redis_client.keys("*:key")
    assert 0 < await redis_client.ttl(name) <= 60


async def test_a_later_claim_does_not_prolong_the_first(redis_client: Redis) -> None:
    claim = Claim(UUID(int=7), "print")
    await RedisIdempotency(redis_client, prefix="kit:", ttl=60).claim("key", claim)
    await RedisIdempotency(redis_client, prefix="kit:", ttl=6000).claim("key", claim)
    [name] = await redis_client.keys("*:key")
    assert await redis_client.ttl(name) <= 60


async def test_keys_carry_the_prefix(redis_client: Redis) -> None:
    await RedisIdempotency(redis_client, prefix="kit:", ttl=60).claim(
        "key", Claim(UUID(int=7), "print")
    )
    assert await redis_client.keys("*key*") == ["kit:key"]


async def test_a_connection_that_the_server_closed_costs_no_call(
    redis_client: Redis, redis_url: str
) -> None:
    own = connect(redis_url, timeout=5)
    await own.ping()
    await redis_client.client_kill_filter(_id=str(await own.client_id()))
    await RedisIdempotency(own, prefix="kit:", ttl=60).ping()
    await own.aclose()


@pytest.fixture(params=["refuses", "is silent"])
def port(request: pytest.FixtureRequest) -> Iterator[int]:
    """A port of a server that is at fault, in each way."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        if request.param == "refuses":
            server.close()
        yield port


async def test_a_server_that_is_at_fault_is_unavailable_and_that_is_said_in_time(
    port: int,
) -> None:
    client = connect(f"redis://127.0.0.1:{port}", timeout=TIMEOUT)
    store = RedisIdempotency(client, prefix="kit:", ttl=60)
    for call in (store.ping(), store.claim("key", Claim(UUID(int=7), "print"))):
        start = time.monotonic()
        with pytest.raises(errors.UnavailableError, match="redis is not available"):
            await call
        assert time.monotonic() - start < PATIENCE
    await client.aclose()
