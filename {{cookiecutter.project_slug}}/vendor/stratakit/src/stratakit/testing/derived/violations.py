"""What a database refused, and by which constraint, whichever driver says so."""

from dataclasses import dataclass

from sqlalchemy import exc


@dataclass(frozen=True, slots=True)
class Refusal:
    """A violated constraint, as the server names it."""

    sqlstate: str
    constraint: str | None


def refusal(error: exc.DBAPIError) -> Refusal:
    """Return what the server refused."""
    # SQLAlchemy's wrapper of asyncpg keeps the text alone; psycopg has a part for such details.
    details = getattr(error.orig, "diag", None) or (error.orig and error.orig.__cause__)
    sqlstate = getattr(error.orig, "sqlstate", None)
    return Refusal(str(sqlstate), getattr(details, "constraint_name", None))
