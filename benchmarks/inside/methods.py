"""Methods of isolating tests: the work of each before and after a single test.

A method is entered once for several tests, like a session; the context manager that it yields is
entered for each test and yields the test's connection.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import count
from urllib.parse import quote

import pgtestdbpy
import psycopg
import sqlalchemy as sa
from psycopg.conninfo import conninfo_to_dict
from pytest_postgresql.janitor import DatabaseJanitor
from schema import METADATA, SEED, SEEDED, WORK
from stratakit import database, names, project
from stratakit.database.runs import create
from stratakit.testing.databases import ClonePool, IsolatedDatabase

Connection = psycopg.Connection
Test = Callable[[], AbstractContextManager[Connection]]


@dataclass(frozen=True)
class Ground:
    """Starting point of every method: the same server, the same migrated template."""

    server: str
    run: str
    service: project.Service
    template: str
    numbers: Iterator[int]

    @classmethod
    def of(cls, server: str, run: str, service: project.Service) -> "Ground":
        """Return the ground for a service; build its template if necessary."""
        return cls(server, run, service, database.template(server, service), count())

    def name(self) -> str:
        """Return an unused name for a database of this run."""
        return names.database(self.run, f"b{next(self.numbers)}")

    @contextmanager
    def copy(self) -> Iterator[str]:
        """Yield the name of a migrated database for several tests."""
        name = self.name()
        database.clone(self.server, self.template, name)
        try:
            yield name
        finally:
            self.drop(name)

    def drop(self, name: str) -> None:
        """Drop a database."""
        with database.connect(self.server) as connection:
            database.drop(connection, name)

    def migrate(self, name: str) -> None:
        """Run the ten revisions."""
        with database.connect(self.server, name) as connection:
            database.migrate(connection, self.service)


@contextmanager
def none(ground: Ground) -> Iterator[Test]:
    """No isolation, the baseline: rows accumulate, and later tests find them."""
    with ground.copy() as name, database.connect(ground.server, name) as connection:

        @contextmanager
        def test() -> Iterator[Connection]:
            yield connection

        yield test


@contextmanager
def default(ground: Ground) -> Iterator[Test]:
    """Yield the default isolation of a project."""
    with (
        ground.copy() as name,
        IsolatedDatabase(ground.server, name) as own,
        database.connect(ground.server, name) as connection,
    ):

        @contextmanager
        def test() -> Iterator[Connection]:
            yield connection
            own.clean()

        yield test


@contextmanager
def rollback(ground: Ground) -> Iterator[Test]:
    """An outer transaction that is rolled back: commits in it are savepoints."""
    with ground.copy() as name, database.connect(ground.server, name) as connection:

        @contextmanager
        def test() -> Iterator[Connection]:
            with connection.transaction(force_rollback=True):
                yield connection

        yield test


@contextmanager
def clone(ground: Ground) -> Iterator[Test]:
    """A database for each test, copied in advance and dropped later."""
    prefix = f"s{next(ground.numbers)}x"
    with ClonePool(ground.server, ground.template, ground.run, prefix) as spares:

        @contextmanager
        def test() -> Iterator[Connection]:
            name = spares.take()
            with database.connect(ground.server, name) as connection:
                yield connection
            spares.give_back(name)

        yield test
    _drop_those_of(ground, prefix)


def _drop_those_of(ground: Ground, prefix: str) -> None:
    with database.connect(ground.server) as connection:
        for name in database.runs.databases(connection):
            if f"_{prefix}" in name and names.run_of(name) == ground.run:
                database.drop(connection, name)


@contextmanager
def truncate(ground: Ground) -> Iterator[Test]:
    """TRUNCATE of all tables and reinsertion of the seeded rows, in one round trip."""
    tables = ", ".join((SEEDED, *(name for name, *_ in WORK)))
    statement = f"TRUNCATE {tables} RESTART IDENTITY CASCADE; {SEED}"
    with (
        ground.copy() as name,
        database.connect(ground.server, name) as cleaner,
        database.connect(ground.server, name) as connection,
    ):

        @contextmanager
        def test() -> Iterator[Connection]:
            yield connection
            cleaner.execute(statement)

        yield test


@contextmanager
def migrate(ground: Ground) -> Iterator[Test]:
    """A new database for each test, with all migrations run, dropped after it."""

    @contextmanager
    def test() -> Iterator[Connection]:
        name = ground.name()
        with database.connect(ground.server) as connection:
            create(connection, name)
        ground.migrate(name)
        with database.connect(ground.server, name) as connection:
            yield connection
        ground.drop(name)

    yield test


@contextmanager
def create_all(ground: Ground) -> Iterator[Test]:
    """The models' tables, created before each test and dropped after it; no migrations."""
    name = ground.name()
    with database.connect(ground.server) as connection:
        create(connection, name)
    address = database.url(ground.server, name).set(drivername="postgresql+psycopg")
    engine = sa.create_engine(address)
    with database.connect(ground.server, name) as connection:

        @contextmanager
        def test() -> Iterator[Connection]:
            with engine.begin() as making:
                METADATA.create_all(making)
                making.exec_driver_sql(SEED)
            yield connection
            METADATA.drop_all(engine)

        yield test
    engine.dispose()
    ground.drop(name)


@contextmanager
def pytest_postgresql(ground: Ground) -> Iterator[Test]:
    """Isolate like the fixtures of pytest-postgresql: its `postgresql` over `postgresql_noproc`."""
    host, user = _address(ground.server)
    own = f"theirs{next(ground.numbers)}"
    where = {"user": user, "host": host, "port": 5432}
    template = DatabaseJanitor(**where, dbname=f"{own}_tmpl", as_template=True)

    @contextmanager
    def test() -> Iterator[Connection]:
        janitor = DatabaseJanitor(**where, dbname=own, template_dbname=template.dbname)
        janitor.drop()
        with janitor:
            connection = psycopg.connect(dbname=own, **where)
            try:
                yield connection
            finally:
                connection.close()

    with template:
        ground.migrate(template.dbname)
        yield test


@contextmanager
def pgtestdb(ground: Ground) -> Iterator[Test]:
    """Isolate as the README of pgtestdbpy shows."""
    host, user = _address(ground.server)
    where = {"host": quote(host, safe=""), "password": ""}
    config = pgtestdbpy.Config(user=user, **where)
    own = f"theirs{next(ground.numbers)}"

    def run_migrations(address: str) -> None:
        with database.connect(address, own) as connection:
            database.migrate(connection, ground.service)

    migrator = pgtestdbpy.Migrator(run_migrations, db_name=own, user=own, **where)

    @contextmanager
    def test() -> Iterator[Connection]:
        with pgtestdbpy.clone(config, migrator) as address, psycopg.connect(address) as connection:
            yield connection

    with pgtestdbpy.templates(config, migrator):
        yield test


def _address(server: str) -> tuple[str, str]:
    """Return the folder of the server's socket, and the user name."""
    parts = conninfo_to_dict(server)
    return str(parts["host"]), str(parts["user"])


METHODS: dict[str, Callable[[Ground], AbstractContextManager[Test]]] = {
    "no isolation": none,
    "default": default,
    "rollback": rollback,
    "clone": clone,
    "TRUNCATE and reseed": truncate,
    "create_all, drop_all": create_all,
    "create, migrate, drop": migrate,
    "pytest-postgresql": pytest_postgresql,
    "pgtestdbpy": pgtestdb,
}
