"""Checks that all addresses of a host name lead to the same server, and pinning of one of them.

A name may have several addresses, each with another server behind it: `localhost` is `::1` and
`127.0.0.1`. Clients try the next address if the first refuses them.
"""

import secrets
import socket
from contextlib import suppress
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from ..errors import ConfigurationError
from ..settings import masked

PROOF = 0x0B5_004
"""Class id of the advisory locks that show whether two connections are to the same server."""
_SEEN = """
    SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 2 AND granted
                   AND classid = %s::oid AND objid = %s::oid)
"""


def same_server(one: "psycopg.Connection[Any]", other: "psycopg.Connection[Any]") -> bool:
    """Return whether two connections, in autocommit mode, are to the same server.

    One takes a lock with a random key, which the other sees only on the same server. Any role may
    do so, and proxies in between do not matter.
    """
    keys = (PROOF, secrets.randbits(31))
    one.execute("SELECT pg_advisory_lock(%s, %s)", keys)
    try:
        return other.execute(_SEEN, keys).fetchone() == (True,)
    finally:
        if not one.broken:
            one.execute("SELECT pg_advisory_unlock(%s, %s)", keys)


def leads_to(name: str, address: str) -> bool:
    """Return whether a host name is, or resolves to, an address."""
    with suppress(OSError):
        return name == address or address in {
            str(each[4][0]) for each in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
        }
    return False


def pinned(variable: str, address: str, timeout: int) -> str:
    """Return a URL with its host's address added, so that it always leads to the same server.

    Addresses where nothing listens, or that lead to the same server, are ignored.

    Args:
        variable: the environment variable of the URL.
        address: the URL, which names one host.
        timeout: seconds that the server may take to answer.

    Raises:
        ConfigurationError: it leads to several servers, or to addresses that cannot be compared.
        psycopg.Error: the server does not answer.
    """
    name = str(conninfo_to_dict(address)["host"])
    if name.startswith(("/", "@")):
        return address
    with psycopg.connect(address, autocommit=True, connect_timeout=timeout) as first:
        taken, port = first.info.hostaddr, first.info.port
        found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
        for other in dict.fromkeys(str(each[4][0]) for each in found):
            if other == taken or not _listens(other, port, timeout):
                continue
            try:
                options: dict[str, Any] = {"hostaddr": other, "connect_timeout": timeout}
                with psycopg.connect(address, autocommit=True, **options) as second:
                    problem = "" if same_server(first, second) else "another server"
            except psycopg.Error as error:
                problem = f"perhaps another server, as it refuses us: {str(error).strip()}"
            if problem:
                raise ConfigurationError(
                    f"{variable}={masked(address)} leads to several servers: {name} is {taken}, and"
                    f" {other}, which is {problem}",
                    f"name one address in {variable} instead of {name}: {taken} or {other}",
                )
    return f"{address}{'&' if '?' in address else '?'}hostaddr={taken}"


def _listens(address: str, port: int, timeout: int) -> bool:
    try:
        socket.create_connection((address, port), timeout).close()
    except OSError:
        return False
    return True
