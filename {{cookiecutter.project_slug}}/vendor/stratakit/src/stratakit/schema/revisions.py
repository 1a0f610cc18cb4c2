"""A service's migrations as a chain of revisions, each of which can be applied by itself.

Alembic's commands read all files anew each time: to apply the revisions one by one would cost the
square of their number. Here they are read once.
"""

import warnings
from functools import cached_property

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationStep, RevisionStep
from alembic.script import Script, ScriptDirectory
from sqlalchemy import Connection

from ..database.migrations import MigrationError
from ..database.server_errors import brief, raise_if_server_error
from ..project import Service

Chain = tuple[Script, ...]


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

    def up_to(self, *revisions: str) -> Chain:
        """Return the revisions that a database at `revisions` has behind it, from the first on."""
        return tuple(self._scripts.iterate_revisions(revisions, "base"))[::-1]

    def apply(self, connection: Connection, *revisions: Script, up: bool = True) -> None:
        """Upgrade or downgrade by some revisions at once, in one transaction as a deployment does.

        Raises:
            MigrationError: it fails; `message` says how, in one line.
            InfrastructureError: the server is gone or full, or lacks an extension.
        """
        make = MigrationStep.upgrade_from_script if up else MigrationStep.downgrade_from_script

        def steps(*_: object) -> list[RevisionStep]:
            return [make(self._scripts.revision_map, each) for each in revisions]

        self._config.attributes["connection"] = connection
        try:
            with EnvironmentContext(self._config, self._scripts, fn=steps):
                self._scripts.run_env()
            connection.commit()
        except Exception as error:
            connection.rollback()
            raise_if_server_error(error, "migrations")
            raise MigrationError(brief(error), self._hint) from error
