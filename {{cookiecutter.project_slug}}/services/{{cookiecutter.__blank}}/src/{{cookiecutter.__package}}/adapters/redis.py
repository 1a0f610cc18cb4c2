"""The idempotency store on Redis."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from .. import errors, ports

_PREFIX = "{{ cookiecutter.service }}:idempotency:"


def connect(url: str, *, timeout: float) -> Redis:
    """Return a client that waits at most `timeout` seconds: for a connection, for an answer.

    It connects when it is first used. The caller closes it.
    """
    return Redis.from_url(
        url,
        decode_responses=True,
        socket_connect_timeout=timeout,
        socket_timeout=timeout,
        # Once more, since the connection may be one that the server closed while it was idle.
        retry=Retry(NoBackoff(), 1),
    )


class RedisIdempotency:
    """Keeps claims as keys that expire after `ttl` seconds.

    Needs Redis 7, the first that takes SET with both NX and GET.
    """

    def __init__(self, client: Redis, *, ttl: int) -> None:
        self._client = client
        self._ttl = ttl

    async def claim(self, key: str, claim: ports.Claim) -> ports.Claim:
        """Return the earlier claim of `key`, or make this one."""
        mine = f"{claim.id} {claim.fingerprint}"
        async with _available():
            theirs = await self._client.set(_PREFIX + key, mine, nx=True, get=True, ex=self._ttl)
        if not theirs:
            return claim
        id_, _, fingerprint = str(theirs).partition(" ")
        return ports.Claim(UUID(id_), fingerprint)

    async def ping(self) -> None:
        """Return if the server answers."""
        async with _available():
            await self._client.ping()


@asynccontextmanager
async def _available() -> AsyncIterator[None]:
    try:
        yield
    except (RedisConnectionError, RedisTimeoutError, OSError) as error:
        raise errors.UnavailableError("redis") from error
