"""Environment variables of libpq, asyncpg and PostgreSQL, and which of them a run obeys.

None if the server is ours: stratakit sets the address and user. A configured URL may be completed
by credentials and by TLS settings; variables that could redirect it are refused, and the rest is
ignored. Ignored variables are removed from the environment of this process, so that its drivers,
its children and the services it starts agree.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from .. import limits
from ..errors import ConfigurationError

COMPLETING = (
    *("PGUSER", "PGPASSWORD", "PGPASSFILE", "PGAPPNAME"),
    *("PGSSLMODE", "PGREQUIRESSL", "PGSSLNEGOTIATION", "PGSSLCOMPRESSION", "PGSSLSNI"),
    *("PGSSLCERT", "PGSSLCERTMODE", "PGSSLKEY", "PGSSLROOTCERT", "PGSSLCRL", "PGSSLCRLDIR"),
    *("PGSSLMINPROTOCOLVERSION", "PGSSLMAXPROTOCOLVERSION", "PGCHANNELBINDING"),
    *("PGREQUIREAUTH", "PGREQUIREPEER", "PGMINPROTOCOLVERSION", "PGMAXPROTOCOLVERSION"),
    *("PGGSSENCMODE", "PGGSSLIB", "PGGSSDELEGATION", "PGKRBSRVNAME"),
)
"""Variables obeyed with a URL: credentials, and the protection of the connection."""
LEADING = {"PGHOSTADDR": "", "PGSERVICE": "", "PGPORT": "port"}
"""Variables refused with a URL, unless the URL itself has the option named here."""
IGNORED = (
    *("PGHOST", "PGDATABASE", "PGSERVICEFILE", "PGSYSCONFDIR", "PGLOADBALANCEHOSTS"),
    *("PGTARGETSESSIONATTRS", "PGOPTIONS", "PGCONNECT_TIMEOUT", "PGCLIENTENCODING"),
    # Session settings, and variables read by the programs of an embedded server.
    *("PGTZ", "PGDATESTYLE", "PGGEQO", "PGLOCALEDIR", "PGOAUTHDEBUG", "PGDATA"),
)
"""Variables never obeyed: the URL or stratakit decides, or they change what queries return."""


def set_result(address: str) -> None:
    """Remove ignored variables from the environment of this process.

    Args:
        address: the configured URL, empty if the server is ours.

    Raises:
        ConfigurationError: a variable could redirect the URL to another server.
    """
    try:
        named = conninfo_to_dict(address) if address else {}
    except psycopg.Error:
        # An invalid URL is reported on connecting.
        named = {}
    for variable, option in LEADING.items() if address else ():
        if os.environ.get(variable) and option not in named:
            raise ConfigurationError(
                f"{variable}={os.environ[variable]} could lead TEST_DATABASE_URL to another server"
                " than intended",
                f"unset {variable}" + (f", or name the {option} in the URL" if option else ""),
            )
    for variable in (*LEADING, *IGNORED, *(() if address else COMPLETING)):
        os.environ.pop(variable, None)


def bounded(address: str, **options: str) -> str:
    """Return a URL, with extra options, as a connection string with timeouts and keepalives."""
    ends = {"connect_timeout": round(limits.CONNECT), **limits.KEEPALIVE}
    parts: dict[str, Any] = {**ends, **conninfo_to_dict(address, **options)}
    return make_conninfo(**parts)


def completing() -> list[str]:
    """Return the variables that are set and complete a URL."""
    return [variable for variable in COMPLETING if os.environ.get(variable)]


@contextmanager
def without(variables: list[str]) -> Iterator[None]:
    """Remove variables from the environment for the length of the block."""
    kept: Mapping[str, str] = {variable: os.environ.pop(variable) for variable in variables}
    try:
        yield
    finally:
        os.environ.update(kept)
