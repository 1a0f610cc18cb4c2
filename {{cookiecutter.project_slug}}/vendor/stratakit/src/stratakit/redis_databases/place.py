"""Where a numbered database is."""

from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import redis

from .. import limits

PROBED = 64
"""Databases that are looked at, where the server has that many."""


def url(server: str, number: int, client: str = "") -> str:
    """Return the URL of a database on a server; connections by it bear the name `client`."""
    parts = urlsplit(server)
    named = {"client_name": client} if client else {}
    query = urlencode({**dict(parse_qsl(parts.query)), "db": number, **named})
    # Of a socket the path is the file's, of a host the number of a database.
    path = parts.path if parts.scheme == "unix" else ""
    return f"{parts.scheme}://{parts.netloc}{path}?{query}"


def connected(address: str, **options: Any) -> "redis.Redis":
    """Return a client of a server, or of one of its databases, whose waits have an end."""
    ends = {"socket_connect_timeout": limits.CONNECT, "socket_timeout": limits.KEYS}
    return redis.Redis.from_url(address, **ends, **options)
