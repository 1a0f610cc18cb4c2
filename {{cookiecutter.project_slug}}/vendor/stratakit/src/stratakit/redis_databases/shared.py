"""The databases of a server that somebody else runs, who may use any of them at any time.

The registry is in the databases themselves: all projects have the same one then, and nothing is
written anywhere else. One that is taken holds the hash `strata:owner`, which names the run. It is
taken only if it is empty and nobody is connected to it, the highest number first, since
applications have low ones.

Connections of a run bear its token as their name, by the URL that tests are given. Whoever else is
connected to the database came from elsewhere, and then nothing in it is deleted any more; nor is it
where the marker has gone. Deleted are the keys that were there at a moment when nobody else was
connected, never the database as a whole. What cannot be told is that somebody came and went between
two looks.
"""

import os
import re
import secrets
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from typing import Any, cast
from urllib.parse import unquote, urlsplit

import redis

from .. import graph, names
from ..errors import ConfigurationError, InfrastructureError
from ..servers.process_identity import alive, here, identity
from ..settings import masked
from . import scripts
from .place import connected, url
from .survey import MARKER, NAME, Client, Found, Owner, at, listed, looking, older, survey

MOMENT = int(graph.INTEGRATION.timeout or 0)
"""Seconds that a test may go on, which is as long as a run may be without a sign of life."""
CHUNK = 1000
"""Keys that are deleted in one step: a script takes some thousands."""
RIGHTS = (
    "~* +ping +select +dbsize +time +keys +scan +hget +hgetall +hset +unlink +object|idletime"
    " +eval +multi +exec +client|list +client|setname"
)
"""What the role has to be allowed, in the words of Redis's ACL; tests need more, for themselves."""
INSTEAD = "give tests a Redis of their own, or unset TEST_REDIS_URL to use Docker or embedded"

_TAKEN = "taken by "
_FORBIDDEN = re.compile(
    "NOPERM|ACL failure|can't run this command|can't access at least one of the keys"
    "|EXEC without MULTI"
)
"""What Valkey and Redis say where a script, or a transaction, lacks a right."""


class Keyspace(AbstractContextManager["Keyspace"]):
    """A database that bears our marker."""

    def __init__(self, server: str, number: int) -> None:
        """Be about to take a database; connect to it when it is first used."""
        self.token = NAME.format(secrets.token_hex(8))
        self.url = url(server, number, self.token)
        self._server, self._number = server, number
        self._name = f"database {number} of {masked(server)}"
        self._client = connected(self.url)
        self._refusal: ConfigurationError | None = None
        self._owner = (self.token, names.prefix(), identity(os.getpid()))

    def take(self) -> str | None:
        """Mark it, if it is empty; return why it could not be taken, else None.

        Raises:
            InfrastructureError: the server does not show who is connected.
        """
        # Two who try are not to take each other for somebody who uses it.
        with looking(self._server, self._number) as client:
            self._snapshot(client)
            if self._look(client) != 0:
                return f"{_TAKEN}a run that was faster"
        keys, clients = self._snapshot(self._client)
        if not any(client["name"] == self.token for client in at(clients, self._number)):
            raise InfrastructureError(
                f"{self._name} does not show by their names who is connected, as behind a proxy, so"
                " that nobody can tell whether somebody else uses it",
                f"give the URL of Redis itself; or {INSTEAD}",
            )
        others = self._others(clients)
        if others:
            return f"used by {listed(others)}"
        return f"holds {len(keys)} keys" if keys else None

    def flush(self) -> None:
        """Delete what has been written to it.

        Raises:
            ConfigurationError: somebody else uses it. Nothing was deleted.
        """
        if self._refusal is None:
            self._refusal = self._flushed()
        # For good: what somebody has written stays theirs when they have gone.
        if self._refusal:
            raise self._refusal

    def give_up(self) -> None:
        """Take our marker away, if it is there, and nothing else."""
        with looking(self._server, self._number) as client:
            self._delete(client, [MARKER])

    def release(self) -> None:
        """Delete what has been written, where that harms nobody; then let others take it."""
        with suppress(ConfigurationError):
            self.flush()
        self.give_up()

    def __exit__(self, *_: object) -> None:
        """Close the connections."""
        self._client.close()

    def _flushed(self) -> ConfigurationError | None:
        """Delete what has been written; return why that was not done if somebody else is there."""
        count = self._look(self._client)
        if count == 0:
            return None
        keys, clients = self._snapshot(self._client)
        others = self._others(clients)
        if others:
            return ConfigurationError(
                f"somebody else uses {self._name}: {listed(others)}; nothing in it was deleted, not"
                " even what tests have written",
                f"{INSTEAD}; if it is a test's, connect by `redis_url`, which has a client_name",
            )
        if count < 0 or not self._delete(self._client, keys):
            return ConfigurationError(
                f"{self._name} has lost our marker {MARKER}, and the {len(keys)} keys in it may be"
                " somebody's; nothing in it was deleted",
                f"{INSTEAD}; if a test or a service calls FLUSHDB, let it delete its own keys",
            )
        return None

    def _look(self, client: "redis.Redis") -> int:
        """Return how many keys are beside our marker, or -1; mark the database if it is empty."""
        return cast("int", client.eval(scripts.TAKE, 1, MARKER, *self._owner))

    @staticmethod
    def _snapshot(client: "redis.Redis") -> tuple[list[Any], list[Client]]:
        """Return the keys but the marker, and all clients, as they are at one moment."""
        with client.pipeline(transaction=True) as both:
            both.keys("*")
            both.client_list()
            keys, clients = both.execute()
        return [key for key in keys if key not in (MARKER, MARKER.encode())], clients

    def _others(self, clients: list[Client]) -> list[Client]:
        """Return those who use it and did not come by our URL; one may have added to its name."""
        return [
            client
            for client in at(clients, self._number)
            if client["name"].partition(".")[0] != self.token
        ]

    def _delete(self, client: "redis.Redis", keys: list[Any]) -> bool:
        """Delete keys; return whether the marker was there all the time."""
        chunks = (keys[start : start + CHUNK] for start in range(0, len(keys), CHUNK))
        return all(
            client.eval(scripts.DELETE, 1 + len(chunk), MARKER, *chunk, self.token)
            for chunk in chunks
        )


@contextmanager
def claim(server: str) -> Iterator[Keyspace]:
    """Take a database for this process; yield it, and empty and release it afterwards.

    Raises:
        InfrastructureError: runs have taken all of them; or the server, or the role, does not
            allow what it takes to spare others.
        ConfigurationError: somebody else uses those that no run has taken.
    """
    with _explained(server):
        keyspace = _take(server)
    with keyspace:
        try:
            yield keyspace
        finally:
            # Once the server is there again, the marker tells the next run what to sweep up.
            with suppress(redis.ConnectionError, redis.TimeoutError):
                keyspace.release()


def sweep(server: str) -> tuple[list[str], list[str]]:
    """Empty and release what dead runs have taken; return what it was, and what was left alone.

    Raises:
        InfrastructureError: the server, or the role, does not allow it.
    """
    swept, left = [], []
    with _explained(server):
        found, now = survey(server)
        for number, each in found.items():
            if each.owner and _dead(each.owner, each.clients, now):
                name = f"database {number} of {masked(server)}"
                problem = _swept(server, number, each.owner, each.clients)
                if problem is None:
                    swept.append(name)
                else:
                    left.append(
                        f"left alone: {name}, where a dead run was, {problem};"
                        f" if nobody needs what is in it, SELECT {number} and FLUSHDB"
                    )
    return swept, left


def _take(server: str) -> Keyspace:
    found, _ = survey(server)
    with connected(server) as client:
        named = int(client.connection_pool.connection_kwargs.get("db") or 0)
    candidates = sorted(found.keys() - {0, named}, reverse=True)
    if not candidates:
        raise InfrastructureError(
            f"{masked(server)} has one database alone, as with `databases 1` or in a cluster: tests"
            " cannot have one for themselves",
            f"give it more `databases`; or {INSTEAD}",
        )
    problems: dict[int, str] = {}
    for number in candidates:
        problem = _problem(found[number])
        if problem is None:
            with ExitStack() as undo:
                keyspace = undo.enter_context(Keyspace(server, number))
                undo.callback(keyspace.give_up)
                problem = keyspace.take()
                # Not before: a run of an older version makes its entry first, and looks then.
                if problem is None and number in older(server):
                    problem = f"{_TAKEN}a run of an older version, or a stack"
                if problem is None:
                    undo.pop_all()
                    return keyspace
        problems[number] = problem
    reasons = "; ".join(f"{number}: {problem}" for number, problem in problems.items())
    what = f"no database of {masked(server)} is free for tests: {reasons}"
    if all(problem.startswith(_TAKEN) for problem in problems.values()):
        raise InfrastructureError(what, f"wait for those runs; or {INSTEAD}")
    raise ConfigurationError(what, INSTEAD)


def _problem(found: Found) -> str | None:
    """Return what is in the way of taking a database."""
    if found.owner:
        return f"{_TAKEN}a run of {found.owner.project}"
    if found.size:
        return f"holds {found.size} keys"
    return f"used by {listed(found.clients)}" if found.clients else None


def _dead(owner: Owner, clients: list[Client], now: int) -> bool:
    """Say whether the run that has taken a database is dead, on whichever machine it was."""
    # As long as a test may take, what it writes cannot be told from what is written after it.
    if now - owner.seen <= MOMENT:
        return False
    # A run stays connected; but a server may close what is idle, as it is in a debugger.
    connected = any(client["name"] == owner.token for client in clients)
    return not connected and not (here(owner.process) and alive(owner.process))


def _swept(server: str, number: int, owner: Owner, clients: list[Client]) -> str | None:
    """Empty and release the database of a dead run; return what is in the way if that is unsafe."""
    if clients:
        return f"is used by {listed(clients)}"
    with looking(server, number) as client:
        used = client.eval(scripts.SWEEP, 1, MARKER, owner.token, MOMENT)
    return f"has a key that was used since, {used}" if used else None


@contextmanager
def _explained(server: str) -> Iterator[None]:
    """Turn what a server refuses into what is wrong, and how to fix it."""
    try:
        yield
    except redis.RedisError as error:
        if isinstance(error, redis.exceptions.NoPermissionError) or _FORBIDDEN.search(str(error)):
            who = unquote(urlsplit(server).username or "default")
            raise InfrastructureError(
                f"the user {who} of {masked(server)} lacks rights that it takes to harm nobody:"
                f" {error}",
                f"as an administrator: ACL SETUSER {who} {RIGHTS}; or {INSTEAD}",
            ) from error
        raise InfrastructureError(f"{masked(server)} refuses: {error}", INSTEAD) from error
