"""One server behind a name: the address that a name leads to, and the proof that it is that server.

A name may have several addresses, and behind each of them there may be another server: `localhost`
is `::1` and `127.0.0.1`. Clients take the next one where the first does not let them in.
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
"""The class of the advisory locks by which two connections find out that they are to one server."""
_SEEN = """
    SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 2 AND granted
                   AND classid = %s::oid AND objid = %s::oid)
"""


def same_server(one: "psycopg.Connection[Any]", other: "psycopg.Connection[Any]") -> bool:
    """Return whether two connections, in autocommit mode, are to one server.

    One holds a lock under a random key, which the other one sees on the same server alone. Any role
    may do so, and whatever stands between does not matter.
    """
    keys = (PROOF, secrets.randbits(31))
    one.execute("SELECT pg_advisory_lock(%s, %s)", keys)
    try:
        return other.execute(_SEEN, keys).fetchone() == (True,)
    finally:
        if not one.broken:
            one.execute("SELECT pg_advisory_unlock(%s, %s)", keys)


def leads_to(name: str, address: str) -> bool:
    """Return whether a host, by its name or its address, is the one at an address."""
    with suppress(OSError):
        return name == address or address in {
            str(each[4][0]) for each in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
        }
    return False


def pinned(variable: str, address: str, timeout: int) -> str:
    """Return the URL of a server with the address that it leads to, so that it leads there always.

    Addresses where nothing listens do not matter, nor those that lead to the same server.

    Args:
        variable: what the URL was set by.
        address: the URL, which names one host.
        timeout: seconds that the server may take to answer.

    Raises:
        ConfigurationError: it leads to several servers, or to what cannot be told from that.
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
                problem = f"cannot be told, for it says: {str(error).strip()}"
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
