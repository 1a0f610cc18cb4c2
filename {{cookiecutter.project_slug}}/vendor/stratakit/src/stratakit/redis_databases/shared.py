"""Take databases on a server that others use as well, who may take any of them at any time.

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
"""Keys that are deleted in one step: a script takes some thousands."""
RIGHTS = (
    "~* +ping +select +dbsize +time +keys +scan +hget +hgetall +hset +unlink +object|idletime"
    " +eval +multi +exec +client|list +client|setname"
)
"""What the role has to be allowed, in the words of Redis's ACL; tests need more, for themselves."""
INSTEAD = "give tests a Redis of their own, or unset TEST_REDIS_URL to use Docker or embedded"
BACK = "when nobody needs what is in it: uv run invoke db.gc --redis-database {}"
"""How to get a database back that was given up."""

_TAKEN = "taken by "
_GIVEN_UP = "and no run takes it while it holds keys"
_FORBIDDEN = re.compile(
    "NOPERM|ACL failure|can't run this command|can't access at least one of the keys"
    "|EXEC without MULTI"
)
"""What Valkey and Redis say where a script, or a transaction, lacks a right."""
# What has to be one step on the server: to look, and to do what depends on it. KEYS[1] is the
# marker: a database is only ever changed by one that finds its own token in it.
_TAKE = """
-- Mark the database if it is empty; note that it is in use. Return how many keys are beside the
-- marker, or -1 if the database is not ours.
-- ARGV: the token, the project, the process.
local size = redis.call('DBSIZE')
if size == 0 then
  -- Without the right to what is needed later, nothing is left behind.
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
-- KEYS: from the second on, what to delete. ARGV: the token.
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
            number: which of its databases.
            token: what marks it, and names connections; by default one that nobody else has.
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
        # Two who try are not to take each other for somebody who uses it.
        with looking(self._server, self.number) as client:
            self._snapshot(client)
            if self.mark(client) != 0:
                return f"{_TAKEN}a run that was faster"
        keys, clients = self._snapshot(self._client)
        if not any(client["name"] == self.token for client in at(clients, self.number)):
            raise InfrastructureError(
                f"{self._name} does not show by their names who is connected, as behind a proxy, so"
                " that nobody can tell whether somebody else uses it",
                f"give the URL of Redis itself; or {INSTEAD}",
            )
        others = self._others(clients)
        if others:
            return f"used by {listed(others)}"
        return f"holds {len(keys)} keys" if keys else None

    def mark(self, client: redis.Redis | None = None) -> int:
        """Mark it if it is empty, over a client if one is given.

        Return how many keys are beside our marker, or -1 if the database is somebody else's.
        """
        return cast("int", (client or self._client).eval(_TAKE, 1, MARKER, *self._owner))

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

    def seen(self) -> tuple[list[Any], list[Client]]:
        """Return the keys but the marker, and who else is connected, as they are at one moment."""
        keys, clients = self._snapshot(self._client)
        return keys, self._others(clients)

    def discard(self, keys: list[Any]) -> None:
        """Delete these keys and any marker, whoever wrote them."""
        for chunk in _chunks([*keys, MARKER]):
            self._client.unlink(*chunk)

    def give_up(self) -> None:
        """Take our marker away, if it is there, and nothing else."""
        with looking(self._server, self.number) as client:
            self._delete(client, [MARKER])

    def release(self) -> ConfigurationError | None:
        """Delete what has been written; then let others take it.

        Return why nothing was deleted where somebody else uses it.
        """
        with suppress(ConfigurationError):
            self.flush()
        self.give_up()
        return self._refusal

    def __exit__(self, *_: object) -> None:
        """Close the connections."""
        self._client.close()

    def _flushed(self) -> ConfigurationError | None:
        """Delete what has been written; return why that was not done if somebody else is there."""
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
            for client in at(clients, self.number)
            if client["name"].partition(".")[0] != self.token
        ]

    def _delete(self, client: redis.Redis, keys: list[Any]) -> bool:
        """Delete keys; return whether the marker was there all the time."""
        return all(
            client.eval(_DELETE, 1 + len(chunk), MARKER, *chunk, self.token)
            for chunk in _chunks(keys)
        )


@contextmanager
def claim(server: str) -> Iterator[Keyspace]:
    """Take a database for this process; yield it, and empty and release it afterwards.

    Raises:
        InfrastructureError: runs have taken all of them; or the server, or the role, does not
            allow what it takes to spare others.
        ConfigurationError: somebody else uses those that no run has taken.
    """
    with explained(server):
        keyspace = take(server)
    with keyspace:
        try:
            yield keyspace
        finally:
            # Once the server is there again, the marker tells the next run what to sweep up.
            with suppress(redis.ConnectionError, redis.TimeoutError):
                keyspace.release()


def take(server: str, token: str = "", process: str = "") -> Keyspace:
    """Return a database that was empty, marked for an owner.

    Raises:
        InfrastructureError: all of them are taken, or the server does not allow it.
        ConfigurationError: somebody else uses those that are not taken.
    """
    found, _ = survey(server)
    numbers = candidates(server, found)
    if not numbers:
        raise InfrastructureError(
            f"{masked(server)} has one database alone, as with `databases 1` or in a cluster: tests"
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
                # Not before: a run of an older version makes its entry first, and looks then.
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
    """Return the databases that tests may take, in the order in which they do."""
    with connected(server) as client:
        first = int(client.connection_pool.connection_kwargs.get("db") or 0)
    return sorted(found.keys() - {0, first}, reverse=True)


def named(server: str, number: int) -> str:
    """Return the name of a database in messages."""
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
    """Turn the errors by which a server refuses into ours, with a hint."""
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


def _chunks(keys: list[Any]) -> Iterator[list[Any]]:
    return (keys[start : start + CHUNK] for start in range(0, len(keys), CHUNK))
