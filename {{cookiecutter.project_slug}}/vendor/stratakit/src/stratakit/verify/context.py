"""What the questions are asked about, and the databases that it takes to answer them."""

from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property

from .. import database, fingerprint, names
from ..database import runs
from ..database.migrations import engine_over
from ..project import Service
from .revisions import Chain, Revisions


class Scratch:
    """A database that a run has made for itself; the run drops it."""

    def __init__(self, server: str, name: str, stack: ExitStack) -> None:
        with database.connect(server) as maintenance:
            runs.create(maintenance, name)
        own = stack.enter_context(database.connect(server, name))
        self.connection = stack.enter_context(engine_over(own).connect())
        # Its own, so that the query is prepared once and no transaction of a migration is met.
        self._catalog = stack.enter_context(database.connect(server, name))

    def facts(self) -> fingerprint.Facts:
        """Return what its schema is made of."""
        return fingerprint.facts(self._catalog)


@dataclass
class VerifyContext:
    """A service, a server to try it on, and a database that should have its schema."""

    server: str
    service: Service
    database: str | None
    run: str
    stack: ExitStack
    """Closes the connections, before the run drops what they are to."""
    reached: dict[Chain, fingerprint.Facts] = field(default_factory=dict)
    """The schema after a chain of revisions, where it is known."""
    _scratches: int = 0

    @cached_property
    def revisions(self) -> Revisions:
        """The revisions of the service."""
        return Revisions(self.service)

    @cached_property
    def present(self) -> tuple[str, ...]:
        """The revisions that the database says it is at; none if it was never migrated."""
        with database.reading(self.server, str(self.database)) as connection:
            there = connection.execute("SELECT to_regclass('alembic_version')").fetchone()
            if there == (None,):
                return ()
            rows = connection.execute("SELECT version_num FROM alembic_version ORDER BY 1")
            return tuple(revision for (revision,) in rows)

    @property
    def unknown_revisions(self) -> list[str]:
        """The revisions among them that the code does not have."""
        known = {each.revision for each in self.revisions.chain}
        return [each for each in self.present if each not in known]

    def scratch(self, chain: Chain = ()) -> Scratch:
        """Return a new database, taken up the chain.

        Raises:
            MigrationError: a migration fails.
            InfrastructureError: the role may not create databases, or the server has a fault.
        """
        self._scratches += 1
        name = names.database(self.run, f"verify{self._scratches}")
        scratch = Scratch(self.server, name, self.stack)
        for revision in chain:
            self.revisions.take(scratch.connection, revision)
        return scratch

    def migrated(self, chain: Chain) -> fingerprint.Facts:
        """Return the schema that the migrations give.

        Raises:
            MigrationError: a migration fails.
            InfrastructureError: the role may not create databases, or the server has a fault.
        """
        if chain not in self.reached:
            self.reached[chain] = self.scratch(chain).facts()
        return self.reached[chain]
