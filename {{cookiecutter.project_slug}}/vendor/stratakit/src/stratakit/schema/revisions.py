"""Chain of a service's migrations, each of which can be applied by itself.

Alembic's commands reread all files each time: applying the revisions one by one would cost the
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
            MigrationError: a file cannot be read, or a revision is duplicated or missing.
        """
        try:
            with warnings.catch_warnings():
                # Alembic only warns of a revision that is duplicated or missing.
                warnings.simplefilter("error", UserWarning)
                return tuple(self._scripts.walk_revisions())[::-1]
        except Exception as error:
            raise MigrationError(brief(error), self._hint) from error

    def up_to(self, *revisions: str) -> Chain:
        """Return the revisions that lead to `revisions`, from first to last."""
        return tuple(self._scripts.iterate_revisions(revisions, "base"))[::-1]

    def apply(self, connection: Connection, *revisions: Script, up: bool = True) -> None:
        """Apply or revert revisions at once, in one transaction as a deployment does.

        Raises:
            MigrationError: it fails; `message` gives the reason in one line.
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
