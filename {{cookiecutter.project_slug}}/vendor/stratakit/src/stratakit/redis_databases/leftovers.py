"""What is left in databases: by runs that are dead, and by others where tests were before."""

from collections.abc import Callable
from typing import Any

from .. import tiers
from ..errors import ConfigurationError
from ..servers.process_identity import alive, here
from . import scripts
from .shared import BACK, Keyspace, candidates, explained, named, problem_of
from .survey import MARKER, STACK, Client, Owner, entered, listed, looking, survey


def moment() -> int:
    """Return for how many seconds a run may give no sign of life: as long as a test may take."""
    return int(max(each.timeout or 0 for each in tiers.load() if each.takes_servers))


def sweep(server: str) -> tuple[list[str], list[str]]:
    """Empty and release what dead runs have taken; return what it was, and what was left alone.

    Raises:
        InfrastructureError: the server, or the role, does not allow it.
    """
    swept, left = [], []
    with explained(server):
        found, now = survey(server)
        for number, each in found.items():
            if each.owner and _dead(each.owner, each.clients, now):
                name = named(server, number)
                problem = _swept(server, number, each.owner, each.clients)
                if problem is None:
                    swept.append(name)
                else:
                    left.append(
                        f"left alone: {name}, where a dead run was, {problem};"
                        f" {BACK.format(number)}"
                    )
    return swept, left


def discard(server: str, number: int, agreed: Callable[[str], None]) -> str | None:
    """Empty a database that was given up, whoever has written to it; return what was deleted.

    Args:
        server: the URL of the server.
        number: which of its databases.
        agreed: is told what is to be deleted, and raises an error if that is not to be.

    Raises:
        ConfigurationError: tests do not take it, a run or the stack has it, or somebody uses it.
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
    """Return the keys of a database that nobody is connected to."""
    keys, others = keyspace.seen()
    if others:
        raise ConfigurationError(
            f"somebody uses {name}: {listed(others)}; nothing in it was deleted",
            "close what is connected to it, then run this again",
        )
    return keys


def unmarked(server: str) -> list[str]:
    """Return which databases no run takes because of the keys in them, and how to get them back."""
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
    """Return whether the run that has taken a database is dead, on whichever machine it was."""
    if owner.process == STACK:
        return False
    # As long as a test may take, what it writes cannot be told from what is written after it.
    if now - owner.seen <= moment():
        return False
    # A run stays connected; but a server may close what is idle, as it is in a debugger.
    connected = any(client["name"] == owner.token for client in clients)
    return not connected and not (here(owner.process) and alive(owner.process))


def _swept(server: str, number: int, owner: Owner, clients: list[Client]) -> str | None:
    """Empty and release the database of a dead run; return what is in the way if that is unsafe."""
    if clients:
        return f"is used by {listed(clients)}"
    with looking(server, number) as client:
        used = client.eval(scripts.SWEEP, 1, MARKER, owner.token, moment())
    return f"has a key that was used since, {used}" if used else None
