"""Databases on a server that is shared with others, who may take any of them at any time.

The registry is in the databases themselves: so all projects share it, and nothing is written
anywhere else. A database that is taken holds the hash `strata:owner`, which names the run. It is
taken only if it is empty and has no connections, highest number first, since applications use low
ones.

Connections of a run have its token as their client name, from the URL that tests are given. If any
other client is connected to the database, nothing in it is deleted any more; nor if the marker is
gone. Only keys that existed at a moment without other clients are deleted, never the database as a
whole. A client that comes and goes between two checks cannot be detected.
"""

import os
import re
import secrets
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from typing import Any, cast
from urllib.parse import unquote, urlsplit

import redis

from .. import names
from ..errors import ConfigurationError, InfrastructureError
from ..liveness import identity
from ..settings import masked
from .survey import (
    MARKER,
    NAME,
    STACK,
    Client,
    Found,
    at,
    connected,
    entered,
    listed,
    looking,
    survey,
    url,
)

CHUNK = 1000
"""Number of keys to delete in one step: a script accepts some thousands."""
RIGHTS = (
    "~* +ping +select +dbsize +time +keys +scan +hget +hgetall +hset +unlink +object|idletime"
    " +eval +multi +exec +client|list +client|setname"
)
"""Rights that the role needs, in the syntax of Redis's ACL; tests themselves need more."""
INSTEAD = "give tests a Redis of their own, or unset TEST_REDIS_URL to use Docker or embedded"
BACK = "when nobody needs what is in it: uv run invoke db.gc --redis-database {}"
"""Hint on how to get an abandoned database back."""

_TAKEN = "taken by "
_GIVEN_UP = "and no run takes it while it holds keys"
_FORBIDDEN = re.compile(
    "NOPERM|ACL failure|can't run this command|can't access at least one of the keys"
    "|EXEC without MULTI"
)
"""Errors of Valkey and Redis for a script, or a transaction, that lacks a right."""
# Scripts, since a check and the action that depends on it have to be atomic. KEYS[1] is the
# marker: a database is only ever changed by a run that finds its own token in it.
_TAKE = """
-- Mark the database if it is empty; record that it is in use. Return the number of keys besides
-- the marker, or -1 if the database is not ours.
-- ARGV: the token, the project, the process.
local size = redis.call('DBSIZE')
if size == 0 then
  -- Fails if a right that is needed later is missing, and then leaves nothing behind.
  redis.call('HGET', KEYS[1], 'token')
  redis.call('OBJECT', 'IDLETIME', KEYS[1])
  redis.call('UNLINK', KEYS[1])
elseif redis.pcall('HGET', KEYS[1], 'token') ~= ARGV[1] then
  return -1
end
redis.call('HSET', KEYS[1], 'token', ARGV[1], 'project', ARGV[2], 'process', ARGV[3],
  'seen', redis.call('TIME')[1])
return math.max(size - 1, 0)
"""
_DELETE = """
-- Delete keys; return whether the database was still ours.
-- KEYS: the keys to delete, from the second on. ARGV: the token.
if redis.pcall('HGET', KEYS[1], 'token') ~= ARGV[1] then return 0 end
for i = 2, #KEYS do redis.call('UNLINK', KEYS[i]) end
return 1
"""


class Keyspace(AbstractContextManager["Keyspace"]):
    """A database that bears our marker."""

    def __init__(self, server: str, number: int, token: str = "", process: str = "") -> None:
        """Prepare to take a database; connect to it when it is first used.

        Args:
            server: the URL of the server.
            number: the number of the database.
            token: the token in its marker and in the names of connections; unique by default.
            process: the owner; by default this process.
        """
        self.token = token or NAME.format(secrets.token_hex(8))
        self.url = url(server, number, self.token)
        self.number = number
        self._server = server
        self._name = named(server, number)
        self._client = connected(self.url)
        self._refusal: ConfigurationError | None = None
        self._owner = (self.token, names.prefix(), process or identity(os.getpid()))

    def take(self) -> str | None:
        """Mark it, if it is empty; return why it could not be taken, else None.

        Raises:
            InfrastructureError: the server does not show who is connected.
        """
        # Two runs that try it at once must not mistake each other for users of the database.
        with looking(self._server, self.number) as client:
            self._snapshot(client)
            if self.mark(client) != 0:
                return f"{_TAKEN}a run that was faster"
        keys, clients = self._snapshot(self._client)
        if not any(client["name"] == self.token for client in at(clients, self.number)):
            raise InfrastructureError(
                f"{self._name} does not show the names of its clients, as behind a proxy, so it is"
                " unknown whether somebody else uses it",
                f"give the URL of Redis itself; or {INSTEAD}",
            )
        others = self._others(clients)
        if others:
            return f"used by {listed(others)}"
        return f"holds {len(keys)} keys" if keys else None

    def mark(self, client: redis.Redis | None = None) -> int:
        """Mark it if it is empty, over a client if one is given.

        Return the number of keys besides our marker, or -1 if the database is not ours.
        """
        return cast("int", (client or self._client).eval(_TAKE, 1, MARKER, *self._owner))

    def flush(self) -> None:
        """Delete what has been written to it.

        Raises:
            ConfigurationError: others use it. Nothing was deleted.
        """
        if self._refusal is None:
            self._refusal = self._flushed()
        # Permanent: what others have written is still theirs after they have disconnected.
        if self._refusal:
            raise self._refusal

    def seen(self) -> tuple[list[Any], list[Client]]:
        """Return the keys except the marker, and the clients of others, at one moment."""
        keys, clients = self._snapshot(self._client)
        return keys, self._others(clients)

    def discard(self, keys: list[Any]) -> None:
        """Delete these keys and any marker, whoever wrote them."""
        for chunk in _chunks([*keys, MARKER]):
            self._client.unlink(*chunk)

    def give_up(self) -> None:
        """Remove our marker, if it is there, and nothing else."""
        with looking(self._server, self.number) as client:
            self._delete(client, [MARKER])

    def release(self) -> ConfigurationError | None:
        """Delete what has been written; then let others take it.

        Return why nothing was deleted if others use it.
        """
        with suppress(ConfigurationError):
            self.flush()
        self.give_up()
        return self._refusal

    def __exit__(self, *_: object) -> None:
        """Close the connections."""
        self._client.close()

    def _flushed(self) -> ConfigurationError | None:
        """Delete what has been written; return why nothing was deleted if others use it."""
        count = self.mark()
        if count == 0:
            return None
        keys, others = self.seen()
        if others:
            return ConfigurationError(
                f"somebody else uses {self._name}: {listed(others)}; nothing in it was deleted, not"
                f" even what tests have written, {_GIVEN_UP}",
                "if it is a test's, connect by `redis_url`, which has a client_name;"
                f" {BACK.format(self.number)}; or {INSTEAD}",
            )
        if count < 0 or not self._delete(self._client, keys):
            return ConfigurationError(
                f"{self._name} has lost our marker {MARKER}, and the {len(keys)} keys in it may be"
                f" somebody's; nothing in it was deleted, {_GIVEN_UP}",
                "if a test or a service calls FLUSHDB, let it delete its own keys;"
                f" {BACK.format(self.number)}; or {INSTEAD}",
            )
        return None

    @staticmethod
    def _snapshot(client: redis.Redis) -> tuple[list[Any], list[Client]]:
        """Return the keys except the marker, and all clients, at one moment."""
        with client.pipeline(transaction=True) as both:
            both.keys("*")
            both.client_list()
            keys, clients = both.execute()
        return [key for key in keys if key not in (MARKER, MARKER.encode())], clients

    def _others(self, clients: list[Client]) -> list[Client]:
        """Return the clients of others; ours are named by our URL, possibly with a suffix."""
        return [
            client
            for client in at(clients, self.number)
            if client["name"].partition(".")[0] != self.token
        ]

    def _delete(self, client: redis.Redis, keys: list[Any]) -> bool:
        """Delete keys; return whether the marker was there throughout."""
        return all(
            client.eval(_DELETE, 1 + len(chunk), MARKER, *chunk, self.token)
            for chunk in _chunks(keys)
        )


@contextmanager
def claim(server: str) -> Iterator[Keyspace]:
    """Take a database for this process; yield it, and empty and release it afterwards.

    Raises:
        InfrastructureError: runs have taken all of them; or the server, or the role, does not
            allow the checks that protect others.
        ConfigurationError: others use those that no run has taken.
    """
    with explained(server):
        keyspace = take(server)
    with keyspace:
        try:
            yield keyspace
        finally:
            # If the server is gone, the marker tells a later run what to clean up.
            with suppress(redis.ConnectionError, redis.TimeoutError):
                keyspace.release()


def take(server: str, token: str = "", process: str = "") -> Keyspace:
    """Take an empty database and mark it for an owner.

    Raises:
        InfrastructureError: all of them are taken, or the server does not allow it.
        ConfigurationError: others use those that are not taken.
    """
    found, _ = survey(server)
    numbers = candidates(server, found)
    if not numbers:
        raise InfrastructureError(
            f"{masked(server)} has only one database, as with `databases 1` or in a cluster: tests"
            " cannot have one for themselves",
            f"give it more `databases`; or {INSTEAD}",
        )
    problems: dict[int, str] = {}
    for number in numbers:
        problem = problem_of(found[number])
        if problem is None:
            with ExitStack() as undo:
                keyspace = undo.enter_context(Keyspace(server, number, token, process))
                undo.callback(keyspace.give_up)
                problem = keyspace.take()
                # Checked last: a run of an older version writes its entry first, then checks.
                if problem is None and number in entered(server):
                    problem = f"{_TAKEN}a run of an older version, or a stack"
                if problem is None:
                    undo.pop_all()
                    return keyspace
        problems[number] = problem
    reasons = "; ".join(f"{number}: {problem}" for number, problem in problems.items())
    what = f"no database of {masked(server)} is free for tests: {reasons}"
    if all(problem.startswith(_TAKEN) for problem in problems.values()):
        killed = "if they were killed, uv run invoke db.gc shows what they have left"
        raise InfrastructureError(what, f"wait for those runs; {killed}; or {INSTEAD}")
    raise ConfigurationError(what, f"{BACK.format('NUMBER')}; or {INSTEAD}")


def candidates(server: str, found: dict[int, Found]) -> list[int]:
    """Return the numbers of the databases that tests may take, in the order of preference."""
    with connected(server) as client:
        first = int(client.connection_pool.connection_kwargs.get("db") or 0)
    return sorted(found.keys() - {0, first}, reverse=True)


def named(server: str, number: int) -> str:
    """Return the name of a database for messages."""
    return f"database {number} of {masked(server)}"


def problem_of(found: Found) -> str | None:
    """Return why a database cannot be taken; None if it can."""
    if found.owner:
        whose = "the stack" if found.owner.process == STACK else "a run"
        return f"{_TAKEN}{whose} of {found.owner.project}"
    if found.size:
        return f"holds {found.size} keys"
    return f"used by {listed(found.clients)}" if found.clients else None


@contextmanager
def explained(server: str) -> Iterator[None]:
    """Translate the errors with which a server refuses, and add a hint."""
    try:
        yield
    except redis.RedisError as error:
        if isinstance(error, redis.exceptions.NoPermissionError) or _FORBIDDEN.search(str(error)):
            who = unquote(urlsplit(server).username or "default")
            raise InfrastructureError(
                f"the user {who} of {masked(server)} lacks rights needed to protect others' data:"
                f" {error}",
                f"as an administrator: ACL SETUSER {who} {RIGHTS}; or {INSTEAD}",
            ) from error
        raise InfrastructureError(f"{masked(server)} refuses: {error}", INSTEAD) from error


def _chunks(keys: list[Any]) -> Iterator[list[Any]]:
    return (keys[start : start + CHUNK] for start in range(0, len(keys), CHUNK))
