"""Numbered Redis databases, one for each worker, so that runs do not see each other's keys.

On a server of ours whatever is there is ours as well, and `own` only has to keep runs apart. On one
that somebody else runs, others may use any database at any time: there `shared` takes none that
shows a sign of them, marks what it takes, and looks again before each deletion.
"""

from contextlib import AbstractContextManager
from typing import Protocol

from . import own, shared
from .own import free, reserve
from .place import url

__all__ = ["Keyspace", "claim", "free", "reserve", "sweep", "url"]

sweep = shared.sweep


class Keyspace(Protocol):
    """A database on a Redis server that is ours alone for now."""

    url: str

    def flush(self) -> None:
        """Delete what has been written to it; cost little where nothing was."""


def claim(server: str, *, owned: bool) -> AbstractContextManager[Keyspace]:
    """Take an empty database for this process; empty and release it at the end.

    Args:
        server: the URL of the server.
        owned: whether the server is ours, and so whatever is on it.

    Raises:
        InfrastructureError: all are taken; or, where the server is not ours, it or the role does
            not allow what it takes to spare others.
        ConfigurationError: somebody else uses those that are not taken.
    """
    return own.claim(server) if owned else shared.claim(server)
