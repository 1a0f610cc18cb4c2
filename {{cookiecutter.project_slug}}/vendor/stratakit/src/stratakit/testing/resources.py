"""The servers of a test run, the migrated templates, and a clone for each worker.

The controller (which is the only process where there are no workers) has it all once it is known
which tests were collected, and tells the workers what it has, through their channels: it holds a
password, and a file would outlive a run that is killed. Servers that start quickly do so before:
collecting takes a second, and one processor.
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
    """What the controller hands to the workers."""

    run: str
    servers: dict[servers.Kind, str]
    """The URL of each kind of server."""
    templates: dict[str, str]
    """The migrated template of each package that has tests in this run."""
    lent: dict[str, str]
    """The `test` database of each service where no other can be made: there is no template then."""


def _is_service(package: project.Package) -> TypeGuard[project.Service]:
    return isinstance(package, project.Service)


Acquired = tuple[dict[servers.Kind, servers.Server], str]
"""The servers, and the identifier of the run."""


def _refuse_forgotten(
    service: project.Service, passed: str, ask: Callable[[], Sequence["Difference"] | None]
) -> None:
    """Refuse to test models that no migration has caught up with: nearly every test would fail.

    Args:
        service: whose models they are.
        passed: what a check that has found nothing is called: the next run makes no other.
        ask: returns what no migration makes; it is asked if something has changed since last time.
            None is returned where that cannot be known, so that the next run asks again.

    Raises:
        MigrationError: there are such; it names them.
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
        # What is missing would be shown as a whole; of what is changed, both sides tell.
        lines = (
            str(each) if each.change == "changed" else f"{each.change} {each.kind} {each.name}"
            for each in found
        )
        listed = "\n".join(lines).replace("\n", "\n  ")
        # Not imported before it is needed: Alembic takes 0.3 s.
        from ..schema.verify import ADVICE

        raise database.MigrationError(
            f"the models of {service.name} have what no migration makes:\n  {listed}", ADVICE
        )
    # Where it cannot be kept, it is asked each time.
    with suppress(OSError):
        results.write(stamp, digest.hexdigest())


def _refuse_forgotten_of(server: str, service: project.Service, template: str) -> None:
    def ask() -> Sequence["Difference"]:
        from ..schema import verify

        return verify.forgotten(server, service, template)

    _refuse_forgotten(service, "models", ask)


def _refuse_forgotten_in(service: project.Service, own: database.Connection) -> None:
    """Do so where the role may make no database, over a connection to the one that is lent."""

    def ask() -> Sequence["Difference"] | None:
        from ..schema_tests import catalog

        with migrations.engine_over(own).connect() as connection:
            return catalog.forgotten(connection, service)

    # Less is asked than elsewhere, where it must not count.
    _refuse_forgotten(service, "lent-models", ask)


class RunResources:
    """The servers and databases of a run, as one of its processes sees them."""

    def __init__(
        self, worker: str, receive: Callable[[], dict[str, Any] | None] = lambda: None
    ) -> None:
        """Make it for a process.

        Args:
            worker: what the process is called.
            receive: returns what the controller has told it, the `shared` of its resources.
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
        """Those that this process has started or was given."""
        # Here, where no thread of ours and no test runs yet; workers connect without a lease.
        servers.external.settle_environment(settings.load())

    def prefetch(self, expected: Sequence[project.Package]) -> None:
        """Begin to start what starts fast, while the tests are collected.

        Args:
            expected: packages whose databases are copied as well; not those of workers, which
                have copies of their own.
        """
        if servers.quick(settings.load()):
            executor = ThreadPoolExecutor(1)
            self._prefetched = executor.submit(self._take, expected)
            # No thread is left then, which a test that forks would be warned of.
            executor.shutdown(wait=False)

    def ensure_started(
        self,
        used: Sequence[project.Package],
        workers: int = 0,
        tell: Callable[[str], object] = lambda _: None,
    ) -> str | None:
        """Start what the tests of the packages `used` need; return what was taken, and why.

        None is returned where that has been done: each worker reports what it has collected.

        Args:
            used: packages.
            workers: how many processes run their tests, beside this one.
            tell: is told what is about to be emptied.

        Raises:
            StrataError: a server cannot be had, or a migration does not run.
        """
        if self._state:
            return None
        try:
            return self._start(used, workers, tell)
        except psycopg.Error as error:
            raise InfrastructureError(
                f"PostgreSQL could not make what the tests stand on: {str(error).strip()}",
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
        # Behind an address that was given there may be several, of which each has begun once.
        for kind, server in up.items():
            if server.owned:
                self._started[kind] = servers.external.started(kind, server.url)
        said = "; ".join(f"{each.kind}: {each.source} ({each.why})" for each in up.values())
        return "\n".join([said, *self._left(up["redis"].url)])

    @property
    def shared(self) -> dict[str, Any] | None:
        """The state that workers need; None where nothing was started."""
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
        """Return where whole databases for single tests of a package come from."""
        if package.name in self._shared_state.lent:
            raise InfrastructureError(
                "the role may not create databases, which this test needs one of",
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
        """Delete what the test that has just ended has written.

        Returns:
            Of each package what the test has changed in the schema, if it has.

        Raises:
            AssertionError: the test has left a transaction open, or an advisory lock.
            ConfigurationError: somebody else uses the Redis database, which was left as it is.
        """
        try:
            changed = {package: own.clean() for package, own in self._databases.items()}
            return {package: found for package, found in changed.items() if found}
        finally:
            if self._redis:
                self._redis.flush()

    def broken(self) -> str | None:
        """Return which server has gone away since the run began, or None."""
        if self._state:
            for kind, address in self._state.servers.items():
                try:
                    servers.external.ping(kind, address)
                    now = kind in self._started and servers.external.started(kind, address)
                except Exception as error:  # noqa: BLE001 - whichever way it does not answer
                    return f"{kind} has gone away during the run: {str(error).strip()}"
                if now and now != self._started[kind]:
                    return f"{kind} has gone away during the run: another run has started it again"
        return None

    def close(self) -> None:
        """Drop the run's databases, and let the servers go."""
        if self._prefetched:
            # Of a run that ended while its tests were collected, this may still be under way.
            wait([self._prefetched])
        self._stack.close()

    def _take(self, expected: Sequence[project.Package] = ()) -> Acquired:
        up = self._stack.enter_context(servers.lease(settings.load()))
        address = up["postgres"].url
        run = self._stack.enter_context(database.run(address))
        # What fails here is tried again, and told, when a test asks for it.
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
        """Sweep up after dead runs on a Redis; return what is left of them."""
        # A role without the rights to do so is told when it takes a database of its own.
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
                    "servers are for tests of tiers that need them: none started",
                    "move it to a folder of a tier that has them: "
                    + ", ".join(
                        path for tier in tiers.load() if tier.takes_servers for path in tier.paths
                    ),
                )
            self._state = SharedState(**shared)
        return self._state
