"""The idempotency store on Redis, beyond its contract."""

from uuid import UUID

from redis.asyncio import Redis

from {{ cookiecutter.__package }}.adapters.redis import RedisIdempotency
from {{ cookiecutter.__package }}.ports import Claim


async def test_a_claim_is_forgotten_in_time(redis_client: Redis) -> None:
    store = RedisIdempotency(redis_client, ttl=60)
    await store.claim("key", Claim(UUID(int=7), "print"))
    [name] = await redis_client.keys("*:key")
    assert 0 < await redis_client.ttl(name) <= 60


async def test_a_later_claim_does_not_prolong_the_first(redis_client: Redis) -> None:
    claim = Claim(UUID(int=7), "print")
    await RedisIdempotency(redis_client, ttl=60).claim("key", claim)
    await RedisIdempotency(redis_client, ttl=6000).claim("key", claim)
    [name] = await redis_client.keys("*:key")
    assert await redis_client.ttl(name) <= 60


async def test_keys_carry_the_name_of_the_service(redis_client: Redis) -> None:
    await RedisIdempotency(redis_client, ttl=60).claim("key", Claim(UUID(int=7), "print"))
    assert await redis_client.keys("*key*") == ["{{ cookiecutter.service }}:idempotency:key"]
