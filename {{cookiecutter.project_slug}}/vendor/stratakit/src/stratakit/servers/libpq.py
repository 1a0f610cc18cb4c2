"""The variables that steer libpq, asyncpg and PostgreSQL itself, and which of them a run obeys.

None of them where the server is ours: the engine says where it is and who we are. A URL that was
given is completed by credentials and by what protects the connection; variables that could lead it
elsewhere are refused, and the rest does not count. What does not count is taken from the
environment of this process, so that its drivers, its children and the services it starts agree.
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
"""Obeyed with a URL: who we are to the server, and how the connection is protected."""
LEADING = {"PGHOSTADDR": "", "PGSERVICE": "", "PGPORT": "port"}
"""Refused with a URL, unless the URL itself has the option that is named here."""
IGNORED = (
    *("PGHOST", "PGDATABASE", "PGSERVICEFILE", "PGSYSCONFDIR", "PGLOADBALANCEHOSTS"),
    *("PGTARGETSESSIONATTRS", "PGOPTIONS", "PGCONNECT_TIMEOUT", "PGCLIENTENCODING"),
    # Of sessions; and what the programs of an embedded server read.
    *("PGTZ", "PGDATESTYLE", "PGGEQO", "PGLOCALEDIR", "PGOAUTHDEBUG", "PGDATA"),
)
"""Never obeyed: the URL says it, or the engine does, or it changes what queries return."""


def set_result(address: str) -> None:
    """Take the variables that do not count from the environment of this process.

    Args:
        address: the URL that was given, empty where the server is ours.

    Raises:
        ConfigurationError: with a URL, there is one that could lead it elsewhere.
    """
    try:
        named = conninfo_to_dict(address) if address else {}
    except psycopg.Error:
        # Who connects says that it is no URL.
        named = {}
    for variable, option in LEADING.items() if address else ():
        if os.environ.get(variable) and option not in named:
            raise ConfigurationError(
                f"{variable}={os.environ[variable]} could lead TEST_DATABASE_URL to another server"
                " than the one that is meant",
                f"unset {variable}" + (f", or name the {option} in the URL" if option else ""),
            )
    for variable in (*LEADING, *IGNORED, *(() if address else COMPLETING)):
        os.environ.pop(variable, None)


def bounded(address: str, **options: str) -> str:
    """Return a URL, with options beside its own, as a connection string whose waits have an end."""
    ends = {"connect_timeout": round(limits.CONNECT), **limits.KEEPALIVE}
    parts: dict[str, Any] = {**ends, **conninfo_to_dict(address, **options)}
    return make_conninfo(**parts)


def completing() -> list[str]:
    """Return the variables that are set and complete a URL."""
    return [variable for variable in COMPLETING if os.environ.get(variable)]


@contextmanager
def without(variables: list[str]) -> Iterator[None]:
    """Take variables from the environment for the length of the block."""
    kept: Mapping[str, str] = {variable: os.environ.pop(variable) for variable in variables}
    try:
        yield
    finally:
        os.environ.update(kept)
