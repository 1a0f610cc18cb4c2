"""What a test run stands on: the servers, the migrated templates, a clone for each worker.

The controller (which is the only process where there are no workers) starts it all once it is known
which tests were collected, and writes down what it has for the workers.
"""

import json
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from .. import database, graph, keyspaces, names, servers, settings
from ..errors import InfrastructureError
from .isolation import Isolated
from .spares import Spares


@dataclass(frozen=True, slots=True)
class Scene:
    """What the controller hands to the workers."""

    run: str
    servers: dict[servers.Kind, str]
    """The URL of each kind of server."""
    templates: dict[str, str]
    """The migrated template of each service that has tests in this run."""


class Stage:
    """The servers and databases of a run, as one of its processes sees them."""

    def __init__(self, worker: str, file: Path | None) -> None:
        self.worker = worker
        self.reason: str | None = None
        self._stack = ExitStack()
        self._scene: Scene | None = None
        self._databases: dict[str, Isolated] = {}
        self._spares: dict[str, Spares] = {}
        self._keyspace: keyspaces.Keyspace | None = None
        self.file = file or self._scratch() / "scene.json"

    def prepare(self, used: Sequence[graph.Service]) -> str | None:
        """Start what the tests of the services `used` need; return what was taken, and why.

        None is returned where that has been done: each worker reports what it has collected.

        Raises:
            OpsError: a server cannot be had, or a migration does not run.
        """
        if self._scene:
            return None
        up = self._stack.enter_context(servers.lease(settings.load()))
        address = up["postgres"].url
        self._scene = Scene(
            run=self._stack.enter_context(database.run(address)),
            servers={kind: server.url for kind, server in up.items()},
            templates={each.name: database.template(address, each) for each in used},
        )
        self.file.write_text(json.dumps(asdict(self._scene)), encoding="utf-8")
        return "; ".join(f"{each.kind}: {each.source} ({each.why})" for each in up.values())

    def postgres_url(self, service: graph.Service) -> str:
        """Return the SQLAlchemy URL of this worker's own, migrated database of a service."""
        if service.name not in self._databases:
            name = names.database(self._here.run, f"{self.worker}_{len(self._databases)}")
            database.clone(self._postgres, self._here.templates[service.name], name)
            own = self._stack.enter_context(Isolated(self._postgres, name))
            self._databases[service.name] = own
        return self._databases[service.name].url

    def spare(self, service: graph.Service) -> Spares:
        """Return where whole databases for single tests of a service come from."""
        if service.name not in self._spares:
            template = self._here.templates[service.name]
            prefix = f"{self.worker}_{len(self._spares)}s"
            spares = Spares(self._postgres, template, self._here.run, prefix)
            self._spares[service.name] = self._stack.enter_context(spares)
        return self._spares[service.name]

    def redis_url(self) -> str:
        """Return the URL of this worker's own database on the Redis server."""
        if self._keyspace is None:
            claim = keyspaces.claim(self._here.servers["redis"])
            self._keyspace = self._stack.enter_context(claim)
        return self._keyspace.url

    def clean(self) -> None:
        """Delete what the test that has just ended has written.

        Raises:
            AssertionError: the test has left a transaction open.
        """
        if self._keyspace:
            self._keyspace.flush()
        for own in self._databases.values():
            own.clean()

    def broken(self) -> str | None:
        """Return which server has gone away since the run began, or None."""
        if self._scene:
            for kind, address in self._scene.servers.items():
                try:
                    servers.url.ping(kind, address)
                except Exception as error:  # noqa: BLE001 - whichever way it does not answer
                    return f"{kind} has gone away during the run: {str(error).strip()}"
        return None

    def close(self) -> None:
        """Drop the run's databases, and let the servers go."""
        self._stack.close()

    @property
    def _postgres(self) -> str:
        return self._here.servers["postgres"]

    @property
    def _here(self) -> Scene:
        if not self._scene:
            if not self.file.exists():
                raise InfrastructureError(
                    "this test is not where tests with servers are, so none were started",
                    f"move it to a folder of the tier {graph.INTEGRATION.name}: "
                    + ", ".join(graph.INTEGRATION.paths),
                )
            self._scene = Scene(**json.loads(self.file.read_text(encoding="utf-8")))
        return self._scene

    def _scratch(self) -> Path:
        folder = tempfile.mkdtemp(prefix="ops-")
        self._stack.callback(shutil.rmtree, folder, ignore_errors=True)
        return Path(folder)
