"""Servers run by somebody else, configured by URL."""

import asyncio
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psycopg
import redis
from psycopg.conninfo import conninfo_to_dict

from .. import limits
from ..errors import ConfigurationError, InfrastructureError
from ..settings import EXAMPLES, Settings, masked
from . import addresses, libpq

if TYPE_CHECKING:
    from . import Kind

VARIABLES = {"postgres": "TEST_DATABASE_URL", "redis": "TEST_REDIS_URL"}
REDIRECTING_OPTIONS = (
    *("hostaddr", "service", "load_balance_hosts", "target_session_attrs"),
    *("options", "replication"),
)
"""Options that make libpq connect to another server than the host names, or change its sessions,
while other drivers ignore them."""
_QUOTED = re.compile(r"""(['"]).*?\1""")


def given(settings: Settings, kind: "Kind") -> str:
    """Return the URL configured for a server, without SQLAlchemy's driver; empty if none."""
    value = {"postgres": settings.database_url, "redis": settings.redis_url}[kind]
    scheme, separator, rest = (value or "").partition("://")
    return scheme.partition("+")[0] + separator + rest


@contextmanager
def lease(kind: "Kind", settings: Settings) -> Iterator[str]:
    """Yield the URL of a server that answers.

    Raises:
        ConfigurationError: the URL is ambiguous, or leads to a pooler.
        InfrastructureError: the server does not answer.
    """
    address = given(settings, kind)
    try:
        if kind == "postgres":
            _refuse_detours(address)
            _refuse_variables(address)
            address = addresses.pinned(VARIABLES[kind], address, round(limits.ANSWER))
        ping(kind, address)
        if kind == "postgres" and pooled(address):
            raise ConfigurationError(
                f"{VARIABLES[kind]}={masked(address)} leads through a pooler in transaction mode,"
                " where the locks that keep runs apart do not hold",
                f"give the URL of PostgreSQL itself: {EXAMPLES[VARIABLES[kind]]}",
            )
    except (psycopg.Error, redis.RedisError, ValueError) as error:
        raise InfrastructureError(
            f"{VARIABLES[kind]}={masked(address)} does not answer: {_said(error, address)}",
            f"start that server, correct {VARIABLES[kind]}, or unset it to use Docker or embedded",
        ) from error
    yield address


def settle_environment(settings: Settings) -> None:
    """Remove environment variables that PostgreSQL's clients must not obey; see `libpq`.

    Raises:
        ConfigurationError: one could redirect the configured URL.
    """
    libpq.set_result(given(settings, "postgres") if settings.servers in ("auto", "url") else "")


def pooled(address: str) -> bool:
    """Return whether a connection's statements run on several backends, as through a pooler."""
    query = "SELECT pg_backend_pid()"
    with (
        psycopg.connect(address, autocommit=True, connect_timeout=round(limits.ANSWER)) as one,
        psycopg.connect(address, autocommit=True, connect_timeout=round(limits.ANSWER)) as other,
    ):
        pids = [each.execute(query).fetchone() for each in (one, other, one, other)]
    return pids[:2] != pids[2:] or pids[0] == pids[1]


def _refuse_detours(address: str) -> None:
    parts = conninfo_to_dict(address)
    problem = next(
        (f"has the option {name}=" for name in REDIRECTING_OPTIONS if name in parts), None
    )
    if not parts.get("host"):
        problem = problem or "names no host, so that the environment decides"
    elif "," in str(parts["host"]):
        problem = problem or "names several hosts"
    if problem:
        raise ConfigurationError(
            f"{VARIABLES['postgres']}={masked(address)} {problem}: drivers would not agree on where"
            " it leads, or on what it finds there",
            f"name one host and no such option: {EXAMPLES[VARIABLES['postgres']]}",
        )


def _refuse_variables(address: str) -> None:
    """Make sure that every driver can connect with the variables that complete a URL.

    They are to blame only if the failures differ without them; a missing server fails either way.

    Raises:
        ConfigurationError: a driver cannot connect because of them.
    """
    variables = libpq.completing()
    with_them = _refusals(address) if variables else []
    if not with_them:
        return
    with libpq.without(variables):
        without = _refusals(address)
    if with_them != without:
        raise ConfigurationError(
            f"{VARIABLES['postgres']}={masked(address)} is completed by {', '.join(variables)} in"
            f" the environment, and does not connect so: {with_them[0]}",
            f"unset {' '.join(variables)}, or correct what is wrong",
        )


def _refusals(address: str) -> list[str]:
    """Return the error of each driver that cannot connect."""
    # In its own thread, since an event loop may be running in ours.
    with ThreadPoolExecutor(1) as pool:
        attempts = (
            lambda: ping("postgres", address),
            lambda: pool.submit(asyncio.run, _ping_async(address)).result(),
        )
        return [str(error).strip() for attempt in attempts for error in _raised(attempt)]


def _raised(attempt: Callable[[], object]) -> list[Exception]:
    try:
        attempt()
    except Exception as error:  # noqa: BLE001 - drivers raise all kinds of errors, and so does ssl
        return [error]
    return []


async def _ping_async(address: str) -> None:
    # Imported late: it is rarely needed.
    import asyncpg

    parts = conninfo_to_dict(address)
    connection = await asyncpg.connect(
        **{name: parts.get(name) for name in ("host", "port", "user", "password")},
        database=parts.get("dbname"),
        ssl=parts.get("sslmode"),
        timeout=limits.ANSWER,
    )
    await connection.close()


def _said(error: Exception, address: str) -> str:
    """Return an error's message; secrets quoted in one about the URL itself are masked."""
    text = str(error).strip()
    if not isinstance(error, psycopg.ProgrammingError | ValueError):
        return text
    shown = masked(address)
    return _QUOTED.sub(lambda part: part[0] if part[0][1:-1] in shown else "'***'", text)


def started(kind: "Kind", address: str) -> str:
    """Return an id that changes when a server is restarted or replaced; raises as `ping` does."""
    if kind == "postgres":
        with psycopg.connect(address, connect_timeout=round(limits.ANSWER)) as connection:
            return str(connection.execute("SELECT pg_postmaster_start_time()").fetchone())
    with redis.Redis.from_url(
        address, socket_connect_timeout=limits.ANSWER, socket_timeout=limits.ANSWER
    ) as client:
        return str(client.info("server")["run_id"])


def ping(kind: "Kind", address: str) -> None:
    """Connect to a server; raise its client's own error if it does not answer."""
    if kind == "postgres":
        psycopg.connect(address, connect_timeout=round(limits.ANSWER)).close()
        return
    client = redis.Redis.from_url(
        address, socket_connect_timeout=limits.ANSWER, socket_timeout=limits.ANSWER
    )
    with client:
        client.ping()
