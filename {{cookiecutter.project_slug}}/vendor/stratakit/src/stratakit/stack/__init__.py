"""The stack: every service of the project running on a developer's machine, with its servers.

It runs in Compose if Docker answers, else as processes on embedded servers or a configured one.
This module has the actions, which are idempotent and wait for each other. `containers` and
`processes` are the two backends; `service_env` is the environment of a service, and `dev_servers`
are the servers that it uses.
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
Progress = Callable[[str], AbstractContextManager[None]]
"""Context manager that shows the current step while it runs."""


@dataclass(frozen=True, slots=True)
class UpResult:
    """Result of `up`."""

    source: Source
    why: str
    started: list[str]
    migrated: list[str]
    services: list[Status]

    def as_dict(self) -> dict[str, Any]:
        """Return it as a dictionary for JSON."""
        return {**asdict(self), "services": [each.as_dict() for each in self.services]}


def up(
    names: Sequence[str] = (),
    *,
    timeout: float = limits.HEALTH,
    progress: Progress = lambda _: nullcontext(),
) -> UpResult:
    """Start services, by default all of them, and wait until they are healthy.

    Raises:
        ConfigurationError: a name or a setting is wrong, or a stack on another source is up.
        InfrastructureError: a port is taken, a server does not start, a service is not healthy.
        MigrationError: a migration fails.
    """
    services = choose(names)
    with record.lock():
        return _up(services, timeout, progress)


def down(names: Sequence[str] = ()) -> list[str]:
    """Stop services; without names, all of them and the servers too.

    Their data is kept. Returns what was stopped.
    """
    with record.lock():
        return _down(choose(names) if names else [])


def restart(
    names: Sequence[str] = (),
    *,
    timeout: float = limits.HEALTH,
    progress: Progress = lambda _: nullcontext(),
) -> UpResult:
    """Stop services and start them with their current code and settings; raises as `up` does."""
    services = choose(names)
    with record.lock():
        _, _, backend = _claim()
        backend.stop(services)
        return _up(services, timeout, progress)


def wait(names: Sequence[str] = (), *, timeout: float = limits.HEALTH) -> list[Status]:
    """Wait until services are healthy.

    Raises:
        ConfigurationError: a service exited because a setting is wrong.
        InfrastructureError: a service exited, was not started, or is not healthy in time.
    """
    return await_health(current()[1], choose(names), timeout)


def show() -> list[Status]:
    """Return the status of the servers and the services."""
    _, backend = current()
    return [*_servers(backend), *backend.statuses(choose())]


def logs(names: Sequence[str] = (), *, lines: int) -> dict[str, str]:
    """Return the last lines of each service's output."""
    _, backend = current()
    return {service.name: backend.output(service, lines) for service in choose(names)}


def follow(names: Sequence[str] = (), *, lines: int) -> NoReturn:
    """Replace this process with one that follows the output of services."""
    current()[1].follow(choose(names), lines)


def clean() -> list[str]:
    """Take the stack down and delete all its data; return what was stopped and deleted."""
    with record.lock():
        done = _down([]) + Containers().clean()
        for source in record.PROCESSES:
            if record.used(source):
                done += dev_servers.forget(source)
        record.remove()
        return done


@contextmanager
def dev(services: Sequence[Service], kinds: Sequence[Kind] = servers.KINDS) -> Iterator[Server]:
    """Yield the server of the services' `dev` databases; raises as `up` does."""
    with dev_servers.lease(current()[0], services, kinds) as up:
        yield up["postgres"]


def running(services: Sequence[Service]) -> list[Service]:
    """Return the services that are running in this checkout's stack."""
    listening = [service for service in services if service.port is not None]
    sources = record.sources() if listening else []
    statuses = [status for each in sources for status in _backend(each).statuses(listening)]
    up = {status.name for status in statuses if status.up}
    return [service for service in listening if service.name in up]


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
    """Command to replace this process with, its environment, and the URL of its service."""

    command: list[str]
    environment: dict[str, str]
    url: str


def launch(service: Service, *, port: int | None = None, reload: bool = False) -> Launch:
    """Bring up the servers of a service, migrate its database, and return how to run it.

    Args:
        service: the service to run.
        port: the port to listen on, by default its own.
        reload: whether it restarts when its code changes.

    Raises:
        ConfigurationError: its `app` is not set, or the port or a setting is wrong.
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
            f"--reload needs the application factory of {service.name}, which is not configured",
            f'app = "{service.package}.bootstrap:bootstrap" in [tool.stratakit.service] of'
            f" {service.path.relative_to(ROOT)}/pyproject.toml",
        )
    code = service_env.code(service)
    watched = [word for folder in code for word in ("--reload-dir", str(folder))]
    # uvicorn puts --app-dir first on sys.path. The default is the working directory, needed for
    # `.env`, whose modules could shadow others.
    where = ["--app-dir", str(code[0]), "--host", HOST, "--port", str(port)]
    return ["uvicorn", "--factory", service.app, "--reload", *watched, *where, "--no-access-log"]


def require(names: Sequence[str] = ()) -> dict[str, str]:
    """Return the URLs of the stack's services, by default of all.

    Raises:
        ConfigurationError: there is no such service, or none at all.
        InfrastructureError: no stack runs, or a service is not healthy.
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
    """Return the source and backend of the running stack, else those that `up` would use."""
    source = record.load() or dev_servers.choose()[0]
    return source, _backend(source)


def choose(names: Sequence[str] = ()) -> list[Service]:
    """Return the named services, or all services with a port.

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
    # Imported late: it works only on POSIX.
    from .processes import Processes

    return Processes(source)


def _up(services: Sequence[Service], timeout: float, progress: Progress) -> UpResult:
    source, why, backend = _claim()
    statuses = backend.statuses(services)
    # They run, but their state files are damaged; they would hold their own ports.
    if unknown := [project.service(each.name) for each in statuses if each.up and not each.url]:
        backend.stop(unknown)
    fresh = [
        service
        for service, status in zip(services, statuses, strict=True)
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
            # Another checkout may have taken a port: it cannot see ours until they listen.
            ports.settle(fresh)
            started = backend.start(services, taken)
            with progress("wait until all are healthy"):
                statuses = await_health(backend, services, timeout)
    return UpResult(source, why, [*lost, *started], migrated, statuses)


def _servers(backend: Backend) -> list[Status]:
    """Return the status of the servers; a stopped one that running services need is dead."""
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
    """Return the source of the stack, the reason and its backend; refuse if it is up on another."""
    source, why = dev_servers.choose()
    for noted in record.sources():
        if noted != source and any(status.up for status in _backend(noted).statuses(choose())):
            raise ConfigurationError(
                f"the stack is up already, on servers that are {noted}, not {source}",
                f"uv run invoke stack.down, or STRATA_SERVERS={noted}",
            )
    return source, why, _backend(source)


def _down(services: Sequence[Service]) -> list[str]:
    # Compose reads it too, and would fail once half of the stack is down.
    service_env.dotenv()
    done: list[str] = []
    try:
        for source in record.sources():
            backend = _backend(source)
            stopped = backend.stop(services) if services else backend.close()
            done += [f"{name}: stopped" for name in stopped]
        if not services:
            record.forget()
    finally:
        # Also if a service does not stop.
        done += [] if services else servers.release()
    return done
