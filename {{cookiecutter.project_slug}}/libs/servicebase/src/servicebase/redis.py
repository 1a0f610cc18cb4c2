"""Redis: connections, translation of its errors, and the store of idempotency keys."""

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from redis import exceptions
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from . import errors
from .idempotency import Claim

UNAVAILABLE = (
    exceptions.ConnectionError,
    exceptions.TimeoutError,
    # From a replica before its promotion, and from a server that is out of memory.
    exceptions.MasterDownError,
    exceptions.ReadOnlyError,
    exceptions.OutOfMemoryError,
    OSError,
)


def connect(url: str, *, timeout: float) -> Redis:
    """Return a client that waits at most `timeout` seconds for a connection or a response.

    It connects on first use. The caller closes it.
    """
    return Redis.from_url(
        url,
        decode_responses=True,
        socket_connect_timeout=timeout,
        socket_timeout=timeout,
        # One retry, since the server may have closed the connection while it was idle.
        retry=Retry(NoBackoff(), 1),
    )


@contextmanager
def translated() -> Iterator[None]:
    """Replace errors that are about the server by ours.

    Raises:
        UnavailableError: the server does not answer in time, or cannot do its work.
    """
    try:
        yield
    except UNAVAILABLE as error:
        raise errors.UnavailableError("redis") from error


class RedisIdempotency:
    """Store of claims in keys that begin with `prefix` and expire after `ttl` seconds.

    Requires Redis 7, the first to support SET with both NX and GET.
    """

    def __init__(self, client: Redis, *, prefix: str, ttl: int) -> None:
        self._client = client
        self._prefix = prefix
        self._ttl = ttl

    async def claim(self, key: str, claim: Claim) -> Claim:
        """Return the existing claim of `key`, or store this one."""
        mine = f"{claim.id} {claim.fingerprint}"
        with translated():
            theirs = await self._client.set(
                self._prefix + key, mine, nx=True, get=True, ex=self._ttl
            )
        if not theirs:
            return claim
        id_, _, fingerprint = str(theirs).partition(" ")
        return Claim(UUID(id_), fingerprint)

    async def ping(self) -> None:
        """Check that the server answers."""
        with translated():
            await self._client.ping()
