"""The stack: every service of the project running on a developer's machine, with its servers.

Through Compose where Docker answers, else as processes: on embedded servers, or on one that is
given. Here are the actions, of which each may be run twice, and waits for the others. `containers`
and `processes` are the two ways to run a service; `service_env` is what a service is given, and
`dev_servers` are what it runs on.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from typing import Any, NoReturn

from .. import limits, project, servers
from ..errors import ConfigurationError, InfrastructureError
from ..project import Service
from ..pyproject import ROOT
from ..servers import Kind, Server, Source
from . import dev_servers, ports, record, service_env
from .containers import Containers
from .health import HOST, Backend, State, Status, address, await_health

START = "uv run invoke stack.up"
OURS: tuple[Source, ...] = ("embedded", "url")
"""Sources on which databases are what a stack has stored; in Docker, whole volumes are."""
Progress = Callable[[str], AbstractContextManager[None]]
"""Tells a person what is being done, for as long as it is."""


@dataclass(frozen=True, slots=True)
class UpResult:
    """What came of `up`."""

    source: Source
    why: str
    started: list[str]
    migrated: list[str]
    services: list[Status]

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON takes it."""
        return {**asdict(self), "services": [each.as_dict() for each in self.services]}


def up(
    names: Sequence[str] = (),
    *,
    timeout: float = limits.HEALTH,
    progress: Progress = lambda _: nullcontext(),
) -> UpResult:
    """Run services, all of them where none is named, and wait until they are healthy.

    Raises:
        ConfigurationError: a name or a setting is wrong, or a stack of another kind is up.
        InfrastructureError: a port is taken, a server does not start, a service is not healthy.
        MigrationError: a migration fails.
    """
    services = choose(names)
    with record.lock():
        return _up(services, timeout, progress)


def down(names: Sequence[str] = ()) -> list[str]:
    """Stop services; where none is named, all of them and the servers too.

    What they stored stays. Returns what was stopped.
    """
    with record.lock():
        return _down(choose(names) if names else [])


def restart(
    names: Sequence[str] = (),
    *,
    timeout: float = limits.HEALTH,
    progress: Progress = lambda _: nullcontext(),
) -> UpResult:
    """Stop services and run them again, as they are now; raises what `up` does."""
    services = choose(names)
    with record.lock():
        _, _, backend = _claim()
        backend.stop(services)
        return _up(services, timeout, progress)


def wait(names: Sequence[str] = (), *, timeout: float = limits.HEALTH) -> list[Status]:
    """Wait until services are healthy.

    Raises:
        ConfigurationError: one has ended because a setting is wrong.
        InfrastructureError: one has ended, was not started, or is not healthy in time.
    """
    return await_health(current()[1], choose(names), timeout)


def show() -> list[Status]:
    """Return how the servers and the services are."""
    _, backend = current()
    return [*_servers(backend), *backend.statuses(choose())]


def logs(names: Sequence[str] = (), *, lines: int) -> dict[str, str]:
    """Return the last lines of what services have put out."""
    _, backend = current()
    return {service.name: backend.output(service, lines) for service in choose(names)}


def follow(names: Sequence[str] = (), *, lines: int) -> NoReturn:
    """Show what services put out as it comes, in the place of this process."""
    current()[1].follow(choose(names), lines)


def clean() -> list[str]:
    """Take the stack down and delete all that it has stored; return what was there."""
    with record.lock():
        done = _down([]) + Containers().clean()
        for source in OURS:
            if record.used(source):
                done += dev_servers.forget(source)
        record.remove()
        return done


@contextmanager
def dev(services: Sequence[Service], kinds: Sequence[Kind] = servers.KINDS) -> Iterator[Server]:
    """Yield the server that the `dev` databases of services are on; raises what `up` does."""
    with dev_servers.lease(current()[0], services, kinds) as up:
        yield up["postgres"]


def running(services: Sequence[Service]) -> list[Service]:
    """Return those of the services that the stack of this checkout runs."""
    noted = record.load()
    listening = [service for service in services if service.port is not None]
    if not (noted and listening):
        return []
    statuses = _backend(noted).statuses(listening)
    return [each for each, status in zip(listening, statuses, strict=True) if status.up]


@contextmanager
def paused(services: Sequence[Service]) -> Iterator[None]:
    """Stop services for the length of the block, and start them again."""
    if not services:
        yield
        return
    with record.lock():
        source, backend = current()
        backend.stop(services)
        try:
            yield
        finally:
            with dev_servers.lease(source, services) as taken:
                backend.start(services, taken)


@dataclass(frozen=True, slots=True)
class Launch:
    """What to run in the place of this process, and where it will answer."""

    command: list[str]
    environment: dict[str, str]
    url: str


def launch(service: Service, *, port: int | None = None, reload: bool = False) -> Launch:
    """Bring up the servers of a service, migrate its database, and return how to run it.

    Args:
        service: which one.
        port: where it is to listen, where that is not its own port.
        reload: whether it is to start anew when its code changes.

    Raises:
        ConfigurationError: it does not say what to reload, or the port or a setting is wrong.
        InfrastructureError: the port is taken, or a server does not start.
        MigrationError: a migration fails.
    """
    if port is not None:
        ports.checked(port, "--port", "--port 8000")
    source, backend = current()
    status = backend.statuses([service])[0]
    if status.up and port is None:
        raise InfrastructureError(
            f"{service.name} is up in the stack already, at {status.url}",
            f"uv run invoke stack.down --service {service.name}, or give it another --port",
        )
    if port is None:
        ports.settle([service])
    listens = port or ports.of(service)
    what = _reloading(service, listens) if reload else [service.package]
    ports.refuse(listens, f"the port {listens}", f"--port {ports.free_after(listens)}")
    with record.lock(), dev_servers.lease(source, [service]) as up:
        dev_servers.migrate(service, up)
        own = service_env.variables(service, up, host=HOST, port=listens)
    command = [sys.executable, "-P", "-m", *what]
    return Launch(command, service_env.environment_with(own), address(listens))


def _reloading(service: Service, port: int) -> list[str]:
    if service.app is None:
        raise ConfigurationError(
            f"{service.name} does not say what makes its application, which --reload has to know",
            f'app = "{service.package}.bootstrap:bootstrap" in [tool.stratakit.service] of'
            f" {service.path.relative_to(ROOT)}/pyproject.toml",
        )
    code = service_env.code(service)
    watched = [word for folder in code for word in ("--reload-dir", str(folder))]
    # It puts a folder first on the path; in the working directory, there for the sake of `.env`,
    # are modules of other names.
    where = ["--app-dir", str(code[0]), "--host", HOST, "--port", str(port)]
    return ["uvicorn", "--factory", service.app, "--reload", *watched, *where, "--no-access-log"]


def require(names: Sequence[str] = ()) -> dict[str, str]:
    """Return where services of the stack answer, all of them where none is named.

    Raises:
        ConfigurationError: there is no such service, or none at all.
        InfrastructureError: no stack runs, or one of them is not healthy.
    """
    services = choose(names)
    if record.load() is None:
        raise InfrastructureError("no stack runs, and there are tests that need one", START)
    statuses = current()[1].statuses(services)
    for each in statuses:
        if each.state is not State.HEALTHY:
            why = f": {each.reason}" if each.reason else ""
            raise InfrastructureError(
                f"the stack is not ready for tests: {each.name} is {each.state}{why}",
                "uv run invoke stack.wait" if each.up else START,
            )
    return {each.name: each.url or "" for each in statuses}


def current() -> tuple[Source, Backend]:
    """Return what runs the services: what they were started by, else what would start them."""
    source = record.load() or dev_servers.choose()[0]
    return source, _backend(source)


def choose(names: Sequence[str] = ()) -> list[Service]:
    """Return the services called so, or all that listen somewhere.

    Raises:
        ConfigurationError: there is no such service, or none at all.
    """
    found = [project.service(name) for name in names] or [
        service for service in project.services() if service.port is not None
    ]
    if not found:
        raise ConfigurationError(
            "there is no service to run: none in services/ has a port",
            "uv run invoke service.add billing --resource invoice",
        )
    return found


def _backend(source: Source) -> Backend:
    if source == "docker":
        return Containers()
    # What it is made of exists on POSIX alone.
    from .processes import Processes

    return Processes(source)


def _up(services: Sequence[Service], timeout: float, progress: Progress) -> UpResult:
    source, why, backend = _claim()
    fresh = [
        service
        for service, status in zip(services, backend.statuses(services), strict=True)
        if not (status.up and status.url == address(ports.of(service)))
    ]
    ports.settle(fresh)
    ports.refuse_taken(fresh)
    with progress(f"{backend.PREPARING} {', '.join(service.name for service in services)}"):
        backend.prepare(services)
    record.save(source)
    lost = [each.name for each in _servers(backend) if each.state == State.DEAD]
    migrated = []
    with dev_servers.lease(source, services) as taken:
        for service in services:
            with progress(f"migrate the database of {service.name}"):
                if dev_servers.migrate(service, taken):
                    migrated.append(service.name)
        with record.starting() if fresh else nullcontext():
            # Another checkout may have started meanwhile; until ours listen, it sees nothing of us.
            ports.settle(fresh)
            started = backend.start(services, taken)
            with progress("wait until all are healthy"):
                statuses = await_health(backend, services, timeout)
    return UpResult(source, why, [*lost, *started], migrated, statuses)


def _servers(backend: Backend) -> list[Status]:
    """Return how the servers are: dead is also one that is not there for services which are up."""
    services = choose()
    statuses = backend.statuses(services)
    needed = {
        kind
        for service, status in zip(services, statuses, strict=True)
        if status.up
        for kind in service.needs
    }
    return [
        replace(each, state=State.DEAD, reason="it is gone, and services that need it are up")
        if each.state == State.STOPPED and each.name in needed
        else each
        for each in backend.servers()
    ]


def _claim() -> tuple[Source, str, Backend]:
    """Return where the stack runs, why, and what runs it; refuse where another one is up."""
    source, why = dev_servers.choose()
    noted = record.load()
    others = _backend(noted).statuses(choose()) if noted and noted != source else []
    if any(status.up for status in others):
        raise ConfigurationError(
            f"the stack is up already, on servers that are {noted}, not {source}",
            f"uv run invoke stack.down, or STRATA_SERVERS={noted}",
        )
    return source, why, _backend(source)


def _down(services: Sequence[Service]) -> list[str]:
    noted = record.load()
    stopped: list[str] = []
    if noted:
        backend = _backend(noted)
        stopped = backend.stop(services) if services else backend.close()
    done = [f"{name}: stopped" for name in stopped]
    if services:
        return done
    record.forget()
    return done + servers.release()
