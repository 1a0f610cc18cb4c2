"""Reservation of a database for the stack, and cleanup of what dead runs and others have left.

The database of a checkout's stack is kept until `stack.clean`, however long it is unused. An entry
in the first database of the server finds it again if a service has emptied it. It bears a marker
like the database of a run, and is checked in the same way before it is emptied in the end.
"""

from collections.abc import Callable
from typing import Any

import redis

from .. import names, tiers
from ..errors import ConfigurationError
from ..liveness import alive, here
from .shared import BACK, Keyspace, candidates, explained, named, problem_of, take
from .survey import (
    ENTRY,
    MARKER,
    NAME,
    PROBED,
    STACK,
    Client,
    Owner,
    connected,
    entered,
    listed,
    looking,
    survey,
)

_SWEEP = """
-- Delete the leftovers of a dead run and its marker, unless one of the keys was used since.
-- Return that key, or nothing.
-- ARGV: the token of the run; the seconds for which its last test may have gone on.
if redis.pcall('HGET', KEYS[1], 'token') ~= ARGV[1] then return false end
local now = tonumber(redis.call('TIME')[1])
local last = tonumber(redis.call('HGET', KEYS[1], 'seen')) + tonumber(ARGV[2])
local keys = redis.call('KEYS', '*')
for _, key in ipairs(keys) do
  local idle = redis.pcall('OBJECT', 'IDLETIME', key)
  -- Not a number if the server does not track idle times.
  if key ~= KEYS[1] and (type(idle) ~= 'number' or now - idle > last) then return key end
end
for _, key in ipairs(keys) do redis.call('UNLINK', key) end
return false
"""


def moment() -> int:
    """Return the seconds that a run may go without a sign of life: the longest test timeout."""
    return int(max(each.timeout or 0 for each in tiers.load() if each.takes_servers))


def sweep(server: str) -> tuple[list[str], list[str]]:
    """Empty and release the databases of dead runs; return them, and those left alone.

    Raises:
        InfrastructureError: the server, or the role, does not allow it.
    """
    swept, left = [], []
    with explained(server):
        found, now = survey(server)
        for number, each in found.items():
            if not (each.owner and _dead(each.owner, each.clients, now)):
                continue
            name, problem = named(server, number), ""
            if each.clients:
                problem = f"is used by {listed(each.clients)}"
            else:
                with looking(server, number) as client:
                    used = client.eval(_SWEEP, 1, MARKER, each.owner.token, moment())
                if used:
                    problem = f"has a key that was used since, {used}"
            if problem:
                back = BACK.format(number)
                left.append(f"left alone: {name}, where a dead run was, {problem}; {back}")
            else:
                swept.append(name)
    return swept, left


def discard(server: str, number: int, agreed: Callable[[str], None]) -> str | None:
    """Empty an abandoned database, whoever has written to it; return what was deleted.

    Args:
        server: the URL of the server.
        number: the number of the database.
        agreed: called with what is about to be deleted; raises an error to prevent that.

    Raises:
        ConfigurationError: tests do not take it, a run or the stack has it, or others use it.
        InfrastructureError: the server, or the role, does not allow it.
    """
    name = named(server, number)
    with explained(server):
        found, now = survey(server)
        known = candidates(server, found)
        if number not in known:
            raise ConfigurationError(
                f"tests never take {name}, so it was not given up",
                f"give one of {', '.join(map(str, sorted(known)))}",
            )
        owner = found[number].owner
        if owner and not _dead(owner, found[number].clients, now):
            raise ConfigurationError(
                f"{name} is {problem_of(found[number])}; nothing in it was deleted",
                "uv run invoke stack.clean" if owner.process == STACK else "wait for that run",
            )
        with Keyspace(server, number) as keyspace:
            keys = _unused(name, keyspace)
            if not (keys or owner):
                return None
            what = f"{len(keys)} keys in {name}"
            agreed(what)
            _unused(name, keyspace)
            keyspace.discard(keys)
    return what


def _unused(name: str, keyspace: Keyspace) -> list[Any]:
    """Return the keys of a database; raise an error if others are connected to it."""
    keys, others = keyspace.seen()
    if others:
        raise ConfigurationError(
            f"somebody uses {name}: {listed(others)}; nothing in it was deleted",
            "close what is connected to it, then run this again",
        )
    return keys


def unmarked(server: str) -> list[str]:
    """Return messages about databases that no run takes because of their keys, with a hint."""
    with explained(server):
        found, _ = survey(server)
        numbers = sorted(set(candidates(server, found)) - entered(server))
        return [
            f"not taken for tests: {named(server, number)}, which {problem_of(found[number])};"
            f" {BACK.format(number)}"
            for number in numbers
            if found[number].size and not found[number].owner
        ]


def _dead(owner: Owner, clients: list[Client], now: int) -> bool:
    """Return whether the run that has taken a database is dead, on whatever machine it ran."""
    if owner.process == STACK:
        return False
    # Within the timeout of a test, its writes cannot be told from later ones by others.
    if now - owner.seen <= moment():
        return False
    # A run stays connected, but the server may close idle connections, as during debugging.
    connected = any(client["name"] == owner.token for client in clients)
    return not connected and not (here(owner.process) and alive(owner.process))


def reserve(server: str, mark: str = "") -> int:
    """Return the number of the database that is reserved for a checkout's stack; take one if none.

    Raises:
        InfrastructureError: all of them are taken, or the server cannot be reached.
        ConfigurationError: others use those that are not taken.
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
    """Empty the database that is reserved for a checkout's stack, and let runs take it.

    Return why it was not emptied if others use it.
    """
    with explained(server), connected(server, decode_responses=True) as registry:
        number = _reserved(registry, mark)
        if number is None:
            return None
        with Keyspace(server, number, _token(mark), STACK) as keyspace:
            refusal = keyspace.release()
        registry.delete(_entry(number))
    return str(refusal) if refusal else None


def _reserved(registry: redis.Redis, mark: str) -> int | None:
    numbers, own = range(1, PROBED), STACK + mark
    owners = registry.mget([_entry(number) for number in numbers])
    return next((n for n, owner in zip(numbers, owners, strict=True) if owner == own), None)


def _token(mark: str) -> str:
    return NAME.format("-".join(part for part in ("stack", names.prefix(), mark) if part))


def _entry(number: int) -> str:
    return ENTRY.format(project=names.prefix(), number=number)
