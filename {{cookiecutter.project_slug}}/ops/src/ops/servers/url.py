"""Servers that somebody else runs, given by their URL."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psycopg
import redis
from psycopg.conninfo import conninfo_to_dict

from ..errors import ConfigurationError, InfrastructureError
from ..settings import EXAMPLES, Settings, masked
from . import addresses

if TYPE_CHECKING:
    from . import Kind

VARIABLES = {"postgres": "TEST_DATABASE_URL", "redis": "TEST_REDIS_URL"}
TIMEOUT = 5
"""Seconds that a server may take to answer."""
DETOURS = ("hostaddr", "service")
"""What sends libpq somewhere else than the host says, while other drivers go where it says."""


def given(settings: Settings, kind: "Kind") -> str:
    """Return the URL that was set for a server, empty if none, without a driver of SQLAlchemy's."""
    value = {"postgres": settings.database_url, "redis": settings.redis_url}[kind]
    scheme, separator, rest = (value or "").partition("://")
    return scheme.partition("+")[0] + separator + rest


@contextmanager
def lease(kind: "Kind", settings: Settings) -> Iterator[str]:
    """Yield the URL of a server that answers.

    Raises:
        ConfigurationError: it is not clear where the URL leads, or it leads to a pooler.
        InfrastructureError: the server does not answer.
    """
    address = given(settings, kind)
    try:
        if kind == "postgres":
            _refuse_detours(address)
            address = addresses.pinned(VARIABLES[kind], address, TIMEOUT)
        ping(kind, address)
        if kind == "postgres" and pooled(address):
            raise ConfigurationError(
                f"{VARIABLES[kind]}={masked(address)} leads through a pooler in transaction mode,"
                " where the locks that keep runs apart do not hold",
                f"give the URL of PostgreSQL itself: {EXAMPLES[VARIABLES[kind]]}",
            )
    except (psycopg.Error, redis.RedisError, ValueError) as error:
        raise InfrastructureError(
            f"{VARIABLES[kind]}={masked(address)} does not answer: {str(error).strip()}",
            f"start that server, correct {VARIABLES[kind]}, or unset it to use Docker or embedded",
        ) from error
    yield address


def check_environment() -> None:
    """Refuse variables that would send connections to a server of ours somewhere else.

    Raises:
        ConfigurationError: there is one.
    """
    for option in DETOURS:
        variable = f"PG{option.upper()}"
        if os.environ.get(variable):
            raise ConfigurationError(
                f"{variable}={os.environ[variable]} would lead to another server than the one that"
                " is meant",
                f"unset {variable}",
            )


def pooled(address: str) -> bool:
    """Say whether statements of one connection are run by several servers' processes, or shared."""
    query = "SELECT pg_backend_pid()"
    with (
        psycopg.connect(address, autocommit=True, connect_timeout=TIMEOUT) as one,
        psycopg.connect(address, autocommit=True, connect_timeout=TIMEOUT) as other,
    ):
        pids = [each.execute(query).fetchone() for each in (one, other, one, other)]
    return pids[:2] != pids[2:] or pids[0] == pids[1]


def _refuse_detours(address: str) -> None:
    parts = conninfo_to_dict(address)
    problem = next((f"has the option {name}=" for name in DETOURS if name in parts), None)
    if not parts.get("host"):
        problem = problem or "names no host, so that the environment decides"
    elif "," in str(parts["host"]):
        problem = problem or "names several hosts"
    if problem:
        raise ConfigurationError(
            f"{VARIABLES['postgres']}={masked(address)} {problem}: drivers would not agree on where"
            " it leads",
            f"name one host: {EXAMPLES[VARIABLES['postgres']]}",
        )


def ping(kind: "Kind", address: str) -> None:
    """Ask a server for a sign of life; raises its client's own error where there is none."""
    if kind == "postgres":
        psycopg.connect(address, connect_timeout=TIMEOUT).close()
        return
    client = redis.Redis.from_url(address, socket_connect_timeout=TIMEOUT, socket_timeout=TIMEOUT)
    with client:
        client.ping()
