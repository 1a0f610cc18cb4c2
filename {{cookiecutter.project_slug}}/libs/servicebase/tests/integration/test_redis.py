"""Connections to Redis, and the idempotency store there, beyond its contract."""

import time
from uuid import UUID

import pytest
from redis.asyncio import Redis

from servicebase import errors
from servicebase.idempotency import Claim
from servicebase.redis import RedisIdempotency, connect

TIMEOUT = 0.02
PATIENCE = 2.0
CLAIM = Claim(UUID(int=7), "print")


async def test_a_key_carries_the_prefix_and_is_forgotten_in_the_time_of_its_first_claim(
    redis_client: Redis,
) -> None:
    for ttl in (60, 6000):
        await RedisIdempotency(redis_client, prefix="kit:", ttl=ttl).claim("key", CLAIM)
    assert await redis_client.keys("*key*") == ["kit:key"]
    assert 0 < await redis_client.ttl("kit:key") <= 60


async def test_a_connection_that_the_server_closed_costs_no_call(
    redis_client: Redis, redis_url: str
) -> None:
    own = connect(redis_url, timeout=5)
    await own.ping()
    await redis_client.client_kill_filter(_id=str(await own.client_id()))
    await RedisIdempotency(own, prefix="kit:", ttl=60).ping()
    await own.aclose()


async def test_a_server_that_is_at_fault_is_unavailable_and_that_is_said_in_time(
    faulty_port: int,
) -> None:
    client = connect(f"redis://127.0.0.1:{faulty_port}", timeout=TIMEOUT)
    store = RedisIdempotency(client, prefix="kit:", ttl=60)
    for call in (store.ping(), store.claim("key", CLAIM)):
        start = time.monotonic()
        with pytest.raises(errors.UnavailableError, match="redis is not available"):
            await call
        assert time.monotonic() - start < PATIENCE
    await client.aclose()
