"""The database of a checkout's stack, which is kept until `stack.clean`, however long it is unused.

The entry in the first database of the server finds it again where a service has emptied it. What is
deleted at the end bears a marker, as the database of a run does, and is looked at as that is.
"""

from typing import TYPE_CHECKING

from .. import names
from .place import PROBED, connected
from .shared import Keyspace, explained, take
from .survey import ENTRY, NAME, STACK

if TYPE_CHECKING:
    import redis


def reserve(server: str, mark: str = "") -> int:
    """Return the number of the database that is kept for a checkout's stack, taken now if need be.

    Raises:
        InfrastructureError: all of them are taken, or the server does not answer.
        ConfigurationError: somebody else uses those that are not taken.
    """
    with explained(server), connected(server, decode_responses=True) as registry:
        number = _reserved(registry, mark)
        if number is None:
            with take(server, _token(mark), STACK) as keyspace:
                registry.set(_entry(keyspace.number), STACK + mark)
                return keyspace.number
        with Keyspace(server, number, _token(mark), STACK) as keyspace:
            keyspace.mark()
        return number


def free(server: str, mark: str = "") -> str | None:
    """Empty the database that is kept for a checkout's stack, and let runs take it.

    Return why it was not emptied where somebody else uses it.
    """
    with explained(server), connected(server, decode_responses=True) as registry:
        number = _reserved(registry, mark)
        if number is None:
            return None
        with Keyspace(server, number, _token(mark), STACK) as keyspace:
            refusal = keyspace.release()
        registry.delete(_entry(number))
    return str(refusal) if refusal else None


def _reserved(registry: "redis.Redis", mark: str) -> int | None:
    numbers, own = range(1, PROBED), STACK + mark
    owners = registry.mget([_entry(number) for number in numbers])
    return next((n for n, owner in zip(numbers, owners, strict=True) if owner == own), None)


def _token(mark: str) -> str:
    return NAME.format("-".join(part for part in ("stack", names.prefix(), mark) if part))


def _entry(number: int) -> str:
    return ENTRY.format(project=names.prefix(), number=number)
