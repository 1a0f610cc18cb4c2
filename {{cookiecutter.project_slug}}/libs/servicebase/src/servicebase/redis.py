"""Redis: connections, what its errors mean, and the idempotency keys that it remembers."""

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
    # Of a replica, before it takes over; and of a server that is full.
    exceptions.MasterDownError,
    exceptions.ReadOnlyError,
    exceptions.OutOfMemoryError,
    OSError,
)


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


@contextmanager
def translated() -> Iterator[None]:
    """Raise an error of ours in the place of one that tells of the server.

    Raises:
        UnavailableError: it does not answer in time, or cannot do its work.
    """
    try:
        yield
    except UNAVAILABLE as error:
        raise errors.UnavailableError("redis") from error


class RedisIdempotency:
    """Keeps claims as keys that begin with `prefix` and expire after `ttl` seconds.

    Needs Redis 7, the first that takes SET with both NX and GET.
    """

    def __init__(self, client: Redis, *, prefix: str, ttl: int) -> None:
        self._client = client
        self._prefix = prefix
        self._ttl = ttl

    async def claim(self, key: str, claim: Claim) -> Claim:
        """Return the earlier claim of `key`, or make this one."""
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
        """Return if the server answers."""
        with translated():
            await self._client.ping()
