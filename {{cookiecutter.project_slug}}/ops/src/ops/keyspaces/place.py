"""Where a numbered database is."""

from urllib.parse import parse_qsl, urlencode, urlsplit

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
