"""Servers, migrated templates and per-worker clones of a test run.

The controller (the only process if there are no workers) starts everything once the tests are
collected, and sends its state to the workers through their channels, not through a file: the state
contains a password, and a file would outlive a killed run. Servers that start quickly are started
earlier, during collection, which takes a second and one processor.
"""

import hashlib
import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeGuard

import psycopg

from .. import (
    database,
    environment,
    names,
    project,
    redis_databases,
    results,
    servers,
    settings,
    tiers,
)
from ..database import lifecycle, migrations, runs
from ..errors import InfrastructureError, StrataError
from .databases import ClonePool, IsolatedDatabase

if TYPE_CHECKING:
    from ..schema.fingerprint import Difference


@dataclass(frozen=True, slots=True)
class SharedState:
    """State that the controller sends to the workers."""

    run: str
    servers: dict[servers.Kind, str]
    """URL of each kind of server."""
    templates: dict[str, str]
    """Migrated template of each package that has tests in this run."""
    lent: dict[str, str]
    """`test` database of each service if the role cannot create databases; it has no template."""


def _is_service(package: project.Package) -> TypeGuard[project.Service]:
    return isinstance(package, project.Service)


Acquired = tuple[dict[servers.Kind, servers.Server], str]
"""Servers and identifier of the run."""


def _refuse_forgotten(
    service: project.Service, passed: str, ask: Callable[[], Sequence["Difference"] | None]
) -> None:
    """Refuse to test models with changes that no migration makes: nearly every test would fail.

    Args:
        service: service of the models.
        passed: name of the stamp of a passed check; unchanged files are not checked again.
        ask: returns the changes without a migration, called if files have changed since the last
            check. None means unknown: the next run asks again.

    Raises:
        MigrationError: there are such changes; the message names them.
    """
    digest = hashlib.sha256(migrations.digest(service).encode())
    for file in sorted((service.path / "src").rglob("*.py")):
        digest.update(file.read_bytes())
    stamp = environment.PASSED / f"{passed}-{service.name}"
    if stamp.exists() and stamp.read_text(encoding="ascii") == digest.hexdigest():
        return
    found = ask()
    if found is None:
        return
    if found:
        # Missing or extra objects would be printed whole, so only their names are listed.
        lines = (
            str(each) if each.change == "changed" else f"{each.change} {each.kind} {each.name}"
            for each in found
        )
        listed = "\n".join(lines).replace("\n", "\n  ")
        # Imported lazily: Alembic takes 0.3 s.
        from ..schema.verify import ADVICE

        raise database.MigrationError(
            f"the models of {service.name} have changes without a migration:\n  {listed}", ADVICE
        )
    # Without a stamp, the next run just checks again.
    with suppress(OSError):
        results.write(stamp, digest.hexdigest())


def _refuse_forgotten_of(server: str, service: project.Service, template: str) -> None:
    def ask() -> Sequence["Difference"] | None:
        from ..schema import verify

        return verify.forgotten(server, service, template)

    _refuse_forgotten(service, "models", ask)


def _refuse_forgotten_in(service: project.Service, own: database.Connection) -> None:
    """Check over a connection to the lent database, since the role cannot create others."""

    def ask() -> Sequence["Difference"] | None:
        from ..schema_tests import catalog

        with migrations.engine_over(own).connect() as connection:
            return catalog.forgotten(connection, service)

    # A name of its own: this check covers less, so its pass must not count for the full one.
    _refuse_forgotten(service, "lent-models", ask)


class RunResources:
    """Servers and databases of a run, as seen by one of its processes."""

    def __init__(
        self, worker: str, receive: Callable[[], dict[str, Any] | None] = lambda: None
    ) -> None:
        """Create the resources of a process.

        Args:
            worker: name of the process.
            receive: returns the state sent by the controller, which is its `shared`.
        """
        self.worker = worker
        self._receive = receive
        self._stack = ExitStack()
        self._prefetched: Future[Acquired] | None = None
        self._state: SharedState | None = None
        self._started: dict[servers.Kind, str] = {}
        self._numbers = itertools.count()
        self._databases: dict[str, IsolatedDatabase] = {}
        self._pools: dict[str, ClonePool] = {}
        self._redis: redis_databases.Keyspace | None = None
        self.servers: dict[servers.Kind, servers.Server] = {}
        """Servers that this process has leased."""
        # Done here, before any thread or test runs; workers connect without a lease.
        servers.external.settle_environment(settings.load())

    def prefetch(self, expected: Sequence[project.Package]) -> None:
        """Start servers that start fast in the background, while the tests are collected.

        Args:
            expected: packages whose databases are cloned as well; none if there are workers,
                which have their own clones.
        """
        if servers.quick(settings.load()):
            executor = ThreadPoolExecutor(1)
            self._prefetched = executor.submit(self._take, expected)
            # Let the thread end with its task: a test that forks would get a warning otherwise.
            executor.shutdown(wait=False)

    def ensure_started(
        self,
        used: Sequence[project.Package],
        workers: int = 0,
        tell: Callable[[str], object] = lambda _: None,
    ) -> str | None:
        """Start what the tests of the packages `used` need; return a summary of the servers.

        Return None if it was already started: each worker reports its collected tests.

        Args:
            used: packages.
            workers: number of worker processes that run their tests.
            tell: prints which databases are about to be emptied.

        Raises:
            StrataError: a server is unavailable, or a migration fails.
        """
        if self._state:
            return None
        try:
            return self._start(used, workers, tell)
        except psycopg.Error as error:
            raise InfrastructureError(
                f"PostgreSQL could not create the test databases: {str(error).strip()}",
                "see its message and the server's log, then run it again",
            ) from error

    def _start(
        self, used: Sequence[project.Package], workers: int, tell: Callable[[str], object]
    ) -> str:
        up, run = self._prefetched.result() if self._prefetched else self._take()
        self.servers = up
        address = up["postgres"].url
        services = [] if runs.may_create(address) else [*filter(_is_service, used)]
        lent = {each.name: lifecycle.Database(up["postgres"], each) for each in services}
        if lent and workers > 1:
            raise InfrastructureError(
                f"the role may not create databases, and {workers} workers cannot share "
                + ", ".join(each.name for each in lent.values()),
                "run the tests without -n, or as a superuser: ALTER ROLE ... CREATEDB",
            )
        for each in lent.values():
            check = partial(_refuse_forgotten_in, each.service)
            self._stack.enter_context(each.lent(tell, check))
        self._state = SharedState(
            run=run,
            servers={kind: server.url for kind, server in up.items()},
            templates={
                each.name: database.template(address, each)
                for each in used
                if each.name not in lent
            },
            lent={service: each.name for service, each in lent.items()},
        )
        for service in filter(_is_service, used):
            if service.name not in lent:
                _refuse_forgotten_of(address, service, self._state.templates[service.name])
        # A given address may lead to several servers, whose start times differ.
        for kind, server in up.items():
            if server.owned:
                self._started[kind] = servers.external.started(kind, server.url)
        said = "; ".join(f"{each.kind}: {each.source} ({each.why})" for each in up.values())
        return "\n".join([said, *self._left(up["redis"].url)])

    @property
    def shared(self) -> dict[str, Any] | None:
        """State that workers need; None if nothing was started."""
        return asdict(self._state) if self._state else None

    def postgres_url(self, package: project.Package) -> str:
        """Return the SQLAlchemy URL of this worker's own, migrated database of a package."""
        return self.isolated(package).url

    def isolated(self, package: project.Package) -> IsolatedDatabase:
        """Return this worker's own, migrated database of a package."""
        if package.name in self._shared_state.lent and package.name not in self._databases:
            own = IsolatedDatabase(self._postgres, self._shared_state.lent[package.name])
            self._databases[package.name] = self._stack.enter_context(own)
        elif package.name not in self._databases:
            template = self._shared_state.templates[package.name]
            self._own(self._postgres, self._shared_state.run, package, template)
        return self._databases[package.name]

    def clone_pool(self, package: project.Package) -> ClonePool:
        """Return the pool of databases for single tests of a package."""
        if package.name in self._shared_state.lent:
            raise InfrastructureError(
                "the role may not create databases, and this test needs its own",
                "as a superuser: ALTER ROLE ... CREATEDB",
            )
        if package.name not in self._pools:
            template = self._shared_state.templates[package.name]
            prefix = f"{self.worker}_{len(self._pools)}s"
            pool = ClonePool(self._postgres, template, self._shared_state.run, prefix)
            self._pools[package.name] = self._stack.enter_context(pool)
        return self._pools[package.name]

    def redis_url(self) -> str:
        """Return the URL of this worker's own database on the Redis server."""
        if self._redis is None:
            claim = redis_databases.claim(self._shared_state.servers["redis"])
            self._redis = self._stack.enter_context(claim)
        return self._redis.url

    def clean(self) -> dict[str, list[str]]:
        """Delete the rows and keys written by the test that has just ended.

        Returns:
            The test's schema changes, by package; empty without changes.

        Raises:
            AssertionError: the test has left a transaction open, or an advisory lock held.
            ConfigurationError: another program uses the Redis database, which was not flushed.
        """
        try:
            changed = {package: own.clean() for package, own in self._databases.items()}
            return {package: found for package, found in changed.items() if found}
        finally:
            if self._redis:
                self._redis.flush()

    def broken(self) -> str | None:
        """Return a message about a server that has gone away during the run, or None."""
        if self._state:
            for kind, address in self._state.servers.items():
                try:
                    servers.external.ping(kind, address)
                    now = kind in self._started and servers.external.started(kind, address)
                except Exception as error:  # noqa: BLE001 - any failure to respond
                    return f"{kind} has gone away during the run: {str(error).strip()}"
                if now and now != self._started[kind]:
                    return f"{kind} has gone away during the run: another run has restarted it"
        return None

    def close(self) -> None:
        """Drop the run's databases, and release the servers."""
        if self._prefetched:
            # If the run ended during collection, the prefetch may still be in progress.
            wait([self._prefetched])
        self._stack.close()

    def _take(self, expected: Sequence[project.Package] = ()) -> Acquired:
        up = self._stack.enter_context(servers.lease(settings.load()))
        address = up["postgres"].url
        run = self._stack.enter_context(database.run(address))
        # A failure is not reported here: the test that needs the database tries again.
        with suppress(psycopg.Error, StrataError):
            for each in expected:
                template = database.finished_template(address, each)
                if template:
                    self._own(address, run, each, template)
        return up, run

    def _own(self, server: str, run: str, package: project.Package, template: str) -> None:
        name = names.database(run, f"{self.worker}_{next(self._numbers)}")
        database.clone(server, template, name)
        own = IsolatedDatabase(server, name, template)
        self._databases[package.name] = self._stack.enter_context(own)

    @staticmethod
    def _left(redis: str) -> list[str]:
        """Remove leftovers of dead runs from Redis; return messages about the remaining ones."""
        # A role without the rights gets the error when it claims its own database.
        with suppress(StrataError):
            return redis_databases.sweep(redis)[1]
        return []

    @property
    def _postgres(self) -> str:
        return self._shared_state.servers["postgres"]

    @property
    def _shared_state(self) -> SharedState:
        if not self._state:
            shared = self._receive()
            if shared is None:
                raise InfrastructureError(
                    "no servers were started: the test's tier does not use them",
                    "move it to a folder of a tier that uses them: "
                    + ", ".join(
                        path for tier in tiers.load() if tier.takes_servers for path in tier.paths
                    ),
                )
            self._state = SharedState(**shared)
        return self._state
