"""Survey of the databases of a server: their sizes, owners and connections."""

import re
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import parse_qsl, urlencode, urlsplit

import redis

from .. import limits

PROBED = 64
"""Number of databases to survey, if the server has that many."""
STACK = "stack///"
"""Owner of the stack's database: in the format of a process, but not one."""
ENTRY = "strata:{project}:database:{number}"
"""Key in another database that names the owner: a stack, or a run of an older version."""
MARKER = "strata:owner"
"""Hash in a database that is taken: token, project, process, and time of its last use."""
NAME = "strata-{}"
"""Client name of a run's connections, with its token."""
LOOKING = NAME.format("looking")
"""Client name of connections that only look; they may write the marker if there are no keys."""
SHOWN = ("addr", "name", "user", "cmd")
"""Fields of a connection that messages show."""
STEP = 5000
"""Number of keys that the server scans at a time, while others wait."""

Client = dict[str, str]
"""A connection in the output of CLIENT LIST."""

_PROCESS = re.compile(rf"[^/]*/[^/]*/\d+/[^/]*|{STACK}")
# Older versions used the prefix `ops:`.
_ENTRY = re.compile(r"(?:strata|ops):.*:database:(\d+)")


@dataclass(frozen=True, slots=True)
class Owner:
    """Run or stack that has taken a database."""

    token: str
    project: str
    process: str
    seen: int

    @classmethod
    def of(cls, marker: Any) -> Self | None:
        """Return the owner that a marker names; None if it is not one of ours."""
        try:
            process = _PROCESS.fullmatch(marker["process"])
            found = cls(marker["token"], marker["project"], marker["process"], int(marker["seen"]))
        # Somebody else may have a key of this name, of any type.
        except (LookupError, TypeError, ValueError):
            return None
        return found if process else None


@dataclass(frozen=True, slots=True)
class Found:
    """State of a database at the time of a survey."""

    size: int
    owner: Owner | None
    clients: list[Client]
    """Connections to it."""


def url(server: str, number: int, client: str = "") -> str:
    """Return the URL of a database on a server; its connections get the name `client`."""
    parts = urlsplit(server)
    named = {"client_name": client} if client else {}
    query = urlencode({**dict(parse_qsl(parts.query)), "db": number, **named})
    # The path is the file of a socket, or the database number of a host.
    path = parts.path if parts.scheme == "unix" else ""
    return f"{parts.scheme}://{parts.netloc}{path}?{query}"


def connected(address: str, **options: Any) -> redis.Redis:
    """Return a client with timeouts for a server, or for one of its databases."""
    ends = {"socket_connect_timeout": limits.CONNECT, "socket_timeout": limits.KEYS}
    return redis.Redis.from_url(address, **ends, **options)


def looking(server: str, number: int) -> redis.Redis:
    """Return a client that does not count as a user of the database."""
    # Names of keys are bytes, and those of others need not be text.
    return connected(url(server, number, LOOKING), decode_responses=True, encoding_errors="replace")


def survey(server: str) -> tuple[dict[int, Found], int]:
    """Return the databases of a server, by number, and the server's time.

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
            # No such database: the commands that followed went to the last one that exists.
            break
        found[number] = Found(size, Owner.of(marker), at(clients, number))
    return found, int(now)


def at(clients: list[Client], number: int) -> list[Client]:
    """Return the clients that are connected to a database, except those that only look."""
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
