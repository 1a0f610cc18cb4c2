"""A service's migrations as a chain of revisions, each of which can be applied by itself.

Alembic's commands read all files anew each time: to apply the revisions one by one would cost the
square of their number. Here they are read once.
"""

import re
import warnings
from functools import cached_property

import psycopg
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationStep, RevisionStep
from alembic.script import Script, ScriptDirectory
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from ..database.migrations import OUTSIDE, MigrationError
from ..errors import InfrastructureError
from ..project import Service

Chain = tuple[Script, ...]
_EXTENSION = re.compile(r"CREATE\s+EXTENSION\s+(?:IF\s+NOT\s+EXISTS\s+)?\"?([\w-]+)", re.IGNORECASE)
_NO_EXTENSION = (psycopg.errors.FeatureNotSupported.sqlstate, psycopg.errors.UndefinedFile.sqlstate)


class Revisions:
    """The revisions of one service."""

    def __init__(self, service: Service) -> None:
        self._config = Config(toml_file=service.path / "pyproject.toml")
        self._scripts = ScriptDirectory.from_config(self._config)
        self._hint = f"fix services/{service.name}/migrations"

    @cached_property
    def chain(self) -> Chain:
        """All revisions, from the first to the last.

        Raises:
            MigrationError: a file cannot be read, two are the same revision, or one is not there.
        """
        try:
            with warnings.catch_warnings():
                # By a mere warning Alembic tells of a revision that is there twice, or not at all.
                warnings.simplefilter("error", UserWarning)
                return tuple(self._scripts.walk_revisions())[::-1]
        except Exception as error:
            raise MigrationError(brief(error), self._hint) from error

    @property
    def heads(self) -> list[str]:
        """The revisions that no other one follows."""
        return self._scripts.get_heads()

    def up_to(self, *revisions: str) -> Chain:
        """Return the revisions that a database at `revisions` has behind it, from the first on."""
        return tuple(self._scripts.iterate_revisions(revisions, "base"))[::-1]

    def apply(self, connection: Connection, revision: Script, *, up: bool = True) -> None:
        """Upgrade or downgrade by one revision, in a transaction of its own as a deployment does.

        Raises:
            MigrationError: it fails; `message` says how, in one line.
            InfrastructureError: the server is gone or full, or lacks an extension.
        """
        make = MigrationStep.upgrade_from_script if up else MigrationStep.downgrade_from_script

        def steps(*_: object) -> list[RevisionStep]:
            return [make(self._scripts.revision_map, revision)]

        self._config.attributes["connection"] = connection
        try:
            with EnvironmentContext(self._config, self._scripts, fn=steps):
                self._scripts.run_env()
            connection.commit()
        except Exception as error:
            connection.rollback()
            raise_if_server_error(error)
            raise MigrationError(brief(error), self._hint) from error


def raise_if_server_error(error: Exception) -> None:
    """Raise what is the server's fault as such; return if `error` is not.

    Raises:
        InfrastructureError: the server is gone or full, or lacks an extension.
    """
    if not isinstance(error, DBAPIError) or not isinstance(error.orig, psycopg.Error):
        return
    state = error.orig.sqlstate
    wanted = _EXTENSION.search(error.statement or "")
    if wanted and state in _NO_EXTENSION:
        raise InfrastructureError(
            f"this PostgreSQL has no extension {wanted[1]}, which a migration creates",
            "use one that has it: STRATA_SERVERS=docker, TEST_DATABASE_URL=postgresql://..., or"
            f" install the package that carries {wanted[1]}",
        ) from error
    if error.connection_invalidated or (state or "08").startswith(OUTSIDE):
        raise InfrastructureError(
            f"PostgreSQL cannot go on: {brief(error)}", "see whether the server is up, and its disk"
        ) from error


def brief(error: Exception) -> str:
    """Return an error in one line, without the statement and the advice that SQLAlchemy adds."""
    cause = error.orig if isinstance(error, DBAPIError) and error.orig else error
    lines = str(cause).strip().splitlines()
    return f"{type(cause).__name__}: {lines[0]}" if lines else type(cause).__name__
