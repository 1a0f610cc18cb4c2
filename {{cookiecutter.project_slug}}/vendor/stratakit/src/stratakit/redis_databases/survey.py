"""Look at the databases of a server: what is in each, whose it is, who is connected to it."""

import re
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import parse_qsl, urlencode, urlsplit

import redis

from .. import limits

PROBED = 64
"""Databases that are looked at, where the server has that many."""
STACK = "stack///"
"""The owner of the database that is the stack's: of the form of a process, and none."""
ENTRY = "strata:{project}:database:{number}"
"""What names the owner of a database elsewhere: a stack, or a run of an older version."""
MARKER = "strata:owner"
"""The hash in a database that is taken: token, project, process, and when it was last in use."""
NAME = "strata-{}"
"""The name of connections of a run, with its token."""
LOOKING = NAME.format("looking")
"""The name of connections that only look; they may write the marker where there is no key."""
SHOWN = ("addr", "name", "user", "cmd")
"""What a person is told of a connection."""
STEP = 5000
"""Keys that the server goes through at a time, while others wait."""

Client = dict[str, str]
"""A connection, as CLIENT LIST has it."""

_PROCESS = re.compile(rf"[^/]*/[^/]*/\d+/[^/]*|{STACK}")
# Of older versions it begins with `ops:`.
_ENTRY = re.compile(r"(?:strata|ops):.*:database:(\d+)")


@dataclass(frozen=True, slots=True)
class Owner:
    """The run, or the stack, that has taken a database."""

    token: str
    project: str
    process: str
    seen: int

    @classmethod
    def of(cls, marker: Any) -> Self | None:
        """Return what a marker says; None if it is none of ours."""
        try:
            process = _PROCESS.fullmatch(marker["process"])
            found = cls(marker["token"], marker["project"], marker["process"], int(marker["seen"]))
        # Somebody may have a key of this name, of whatever type.
        except (LookupError, TypeError, ValueError):
            return None
        return found if process else None


@dataclass(frozen=True, slots=True)
class Found:
    """A database as it was found."""

    size: int
    owner: Owner | None
    clients: list[Client]
    """Who is connected to it."""


def url(server: str, number: int, client: str = "") -> str:
    """Return the URL of a database on a server; connections by it bear the name `client`."""
    parts = urlsplit(server)
    named = {"client_name": client} if client else {}
    query = urlencode({**dict(parse_qsl(parts.query)), "db": number, **named})
    # Of a socket the path is the file's, of a host the number of a database.
    path = parts.path if parts.scheme == "unix" else ""
    return f"{parts.scheme}://{parts.netloc}{path}?{query}"


def connected(address: str, **options: Any) -> redis.Redis:
    """Return a client of a server, or of one of its databases, whose waits have an end."""
    ends = {"socket_connect_timeout": limits.CONNECT, "socket_timeout": limits.KEYS}
    return redis.Redis.from_url(address, **ends, **options)


def looking(server: str, number: int) -> redis.Redis:
    """Return a client that does not count as a user of the database."""
    # Names of keys are bytes, and somebody's need not be text.
    return connected(url(server, number, LOOKING), decode_responses=True, encoding_errors="replace")


def survey(server: str) -> tuple[dict[int, Found], int]:
    """Return the databases of a server, by number, and what time it is there.

    Raises:
        redis.RedisError: the role may not look at them.
    """
    with looking(server, 0) as client:
        clients, (now, _) = client.client_list(), client.time()
        with client.pipeline(transaction=False) as each:
            for number in range(PROBED):
                each.execute_command("SELECT", number)
                each.dbsize()
                each.hgetall(MARKER)
            answers = iter(each.execute(raise_on_error=False))
    found: dict[int, Found] = {}
    for number, of_one in enumerate(zip(answers, answers, answers, strict=True)):
        for answer in of_one:
            if isinstance(answer, redis.exceptions.NoPermissionError):
                raise answer
        selected, size, marker = of_one
        if isinstance(selected, redis.RedisError):
            # There is none of this number: what followed was asked of the last one that there is.
            break
        found[number] = Found(size, Owner.of(marker), at(clients, number))
    return found, int(now)


def at(clients: list[Client], number: int) -> list[Client]:
    """Return those who are connected to a database, but for those who only look."""
    return [
        client for client in clients if client["db"] == str(number) and client["name"] != LOOKING
    ]


def listed(clients: list[Client]) -> str:
    """Return connections as text for a message."""
    return ", ".join(
        " ".join(f"{key}={client[key]}" for key in SHOWN if client.get(key)) for client in clients
    )


def entered(server: str) -> set[int]:
    """Return the databases for which a stack, or a run of an older version, has an entry."""
    taken = set()
    for number, found in survey(server)[0].items():
        if found.size and not found.owner:
            with looking(server, number) as client:
                keys = client.scan_iter("*:database:*", count=STEP)
                taken |= {int(match[1]) for match in map(_ENTRY.fullmatch, keys) if match}
    return taken
