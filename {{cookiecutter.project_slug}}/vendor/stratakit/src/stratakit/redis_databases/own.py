"""The databases of a server that is ours: which are taken stands in the one that its URL names.

That one is never used for tests. One that holds keys already is not taken either, and none is
flushed that was not taken before.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Self, cast

import redis

from .. import names
from ..errors import InfrastructureError
from ..servers.process_identity import alive, identity
from .place import PROBED, connected, url

STACK = "stack///"
"""The owner of the database that is the stack's: of the form of a process, and none."""
KEY = "strata:{project}:database:{number}"
"""What names the owner of a database. Runs of older versions have these on every server."""


@contextmanager
def claim(server: str) -> Iterator["Keyspace"]:
    """Take an empty database for this process; yield it, and empty and release it afterwards.

    Raises:
        InfrastructureError: all of them are taken or in use, or the server does not answer.
    """
    with _registry(server) as registry:
        with _answering():
            number = _take(server, registry, identity(os.getpid()))
        with Keyspace(url(server, number)) as keyspace:
            try:
                yield keyspace
            finally:
                # A server that has gone away has taken the keys with it.
                with suppress(redis.ConnectionError, redis.TimeoutError):
                    keyspace.flush()
                    registry.delete(_key(number))


def reserve(server: str) -> int:
    """Return the number of the database that is kept for the stack, taken now if it was not.

    Raises:
        InfrastructureError: all of them are taken or in use, or the server does not answer.
    """
    with _answering(), _registry(server) as registry:
        reserved = _reserved(registry)
        return _take(server, registry, STACK) if reserved is None else reserved


def free(server: str) -> None:
    """Empty the database that is kept for the stack, and let runs take it."""
    with _answering(), _registry(server) as registry:
        number = _reserved(registry)
        if number is not None:
            with Keyspace(url(server, number)) as keyspace:
                keyspace.flush()
            registry.delete(_key(number))


class Keyspace:
    """A database on a Redis server that is ours alone for now."""

    def __init__(self, url: str) -> None:
        """Connect to it when it is first used."""
        self.url = url
        self._client = connected(url)

    def empty(self) -> bool:
        """Say whether it has no keys, and is there at all."""
        try:
            return bool(self._client.dbsize() == 0)
        except redis.ResponseError:
            # The server has fewer databases than that.
            return False

    def flush(self) -> None:
        """Delete every key in it; look first, so that a test which wrote none costs less."""
        if self._client.dbsize():
            self._client.flushdb()

    def __enter__(self) -> Self:
        """Use it."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connections."""
        self._client.close()


@contextmanager
def _registry(server: str) -> Iterator["redis.Redis"]:
    with connected(server, decode_responses=True) as registry:
        yield registry


@contextmanager
def _answering() -> Iterator[None]:
    try:
        yield
    except redis.RedisError as error:
        raise InfrastructureError(
            f"Redis does not answer: {error}", "see whether the server is up and the URL is right"
        ) from error


def _reserved(registry: "redis.Redis") -> int | None:
    numbers = range(1, PROBED)
    owners = cast("list[str | None]", registry.mget([_key(number) for number in numbers]))
    return next((n for n, owner in zip(numbers, owners, strict=True) if owner == STACK), None)


def _take(server: str, registry: "redis.Redis", mine: str) -> int:
    for number in range(1, PROBED):
        owner = cast("str | None", registry.get(_key(number)))
        if owner and _dead(owner) and registry.eval(_REPLACE, 1, _key(number), owner, mine):
            # Its run was killed before it could empty it.
            with Keyspace(url(server, number)) as left:
                left.flush()
            return number
        if owner or not registry.set(_key(number), mine, nx=True):
            continue
        with Keyspace(url(server, number)) as found:
            if found.empty():
                return number
        registry.delete(_key(number))
    raise InfrastructureError(
        "no Redis database is free: all that the server has are taken or hold somebody's keys",
        "use a Redis of its own for tests: unset TEST_REDIS_URL, or give it more `databases`",
    )


def _dead(owner: str) -> bool:
    # A machine may be called `stack`; it would flush what the stack has stored.
    return owner != STACK and not alive(owner)


_REPLACE = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
return 1
"""


def _key(number: int) -> str:
    return KEY.format(project=names.prefix(), number=number)
