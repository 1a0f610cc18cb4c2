"""Distinction between errors of the server and errors in the code of a migration."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import errors

from ..errors import InfrastructureError
from ..servers.carriers import ICU
from ..servers.extensions import CREATES, elsewhere

OUTSIDE = ("08", "53", "57P", "58")
"""SQLSTATE prefixes of errors that no migration causes: connection, resources, the system.

An error without a state did not come from the server: the connection is gone.
"""
_READ_ONLY = (
    "the server takes no changes: it is a replica, or sessions on it are read-only",
    "use the primary; or: ALTER ROLE ... RESET default_transaction_read_only",
)
"""Message and hint for a server that cannot be written to."""
_LACKING = (errors.FeatureNotSupported, errors.UndefinedFile)


def raise_if_server_error(error: Exception, doing: str) -> None:
    """Raise an error of the server's as an InfrastructureError; return for any other.

    Args:
        error: the original error.
        doing: the code that PostgreSQL was running, for the message.

    Raises:
        InfrastructureError: the server is gone, full or read-only, or lacks what a migration
            requires: an extension, ICU, or a right of the role.
    """
    cause = origin(error)
    if not isinstance(cause, psycopg.Error):
        return
    extension = CREATES.search(getattr(error, "statement", None) or "")
    if extension and isinstance(cause, _LACKING):
        raise InfrastructureError(
            f"this PostgreSQL has no extension {extension[1]}, which a migration creates",
            f"{elsewhere(extension[1])}, or install the package that carries {extension[1]}",
        ) from error
    if extension and isinstance(cause, errors.InsufficientPrivilege):
        raise InfrastructureError(
            f"the role may not create the extension {extension[1]}, as a migration does:"
            f" {brief(error)}",
            f'as a superuser, in template1: CREATE EXTENSION "{extension[1]}"',
        ) from error
    # The word is the same in every language of the server's messages.
    if isinstance(cause, errors.FeatureNotSupported) and "ICU" in str(cause):
        raise InfrastructureError(
            f"this PostgreSQL was built without ICU, which a migration asks for: {brief(error)}",
            elsewhere(ICU),
        ) from error
    if isinstance(cause, errors.InsufficientPrivilege):
        raise InfrastructureError(
            f"the role may not do what {doing} ask for: {brief(error)}",
            "use the role that owns the database, or have a superuser grant what is missing",
        ) from error
    if isinstance(cause, errors.ReadOnlySqlTransaction):
        raise InfrastructureError(*_READ_ONLY) from error
    gone = isinstance(cause, psycopg.OperationalError) and cause.sqlstate is None
    if gone or (cause.sqlstate or "").startswith(OUTSIDE):
        raise InfrastructureError(
            f"PostgreSQL could not go on with {doing}: {brief(error)}",
            "see whether the server is up, its disk and its log, then run it again",
        ) from error


@contextmanager
def writable() -> Iterator[None]:
    """Translate the error of a read-only server during the block.

    Raises:
        InfrastructureError: the server cannot be written to.
    """
    try:
        yield
    except errors.ReadOnlySqlTransaction as error:
        raise InfrastructureError(*_READ_ONLY) from error


def origin(error: Exception) -> BaseException:
    """Return the driver's error that SQLAlchemy has wrapped in `error`, or `error` itself."""
    # By the attribute: importing SQLAlchemy takes longer than most actions do.
    cause: BaseException | None = getattr(error, "orig", None)
    return cause or error


def brief(error: Exception) -> str:
    """Return an error in one line, without the statement and the advice added by SQLAlchemy."""
    cause = origin(error)
    lines = str(cause).strip().splitlines()
    return f"{type(cause).__name__}: {lines[0]}" if lines else type(cause).__name__
