"""What `invoke stack.*` does. Each action is as good twice as once, and waits for the others."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from typing import Any, NoReturn

from .. import limits, project, servers
from ..errors import ConfigurationError
from ..project import Service
from ..servers import Kind, Server, Source
from . import ports, record, service_env
from .containers import Containers
from .health import Backend, await_health
from .record import Record
from .states import Status

OURS: tuple[Source, ...] = ("embedded", "url")
"""Sources on which databases are what a stack has stored; in Docker, whole volumes are."""
Progress = Callable[[str], AbstractContextManager[None]]
"""Tells a person what is being done, for as long as it is."""


@dataclass(frozen=True, slots=True)
class Up:
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
) -> Up:
    """Run services, all of them where none is named, and wait until they are healthy.

    Raises:
        ConfigurationError: a name or a setting is wrong, or a stack of another kind is up.
        InfrastructureError: a port is taken, a server does not start, a service is not healthy.
        MigrationError: a migration fails.
    """
    services = choose(names)
    with record.alone():
        return _up(services, timeout, progress)


def down(names: Sequence[str] = ()) -> list[str]:
    """Stop services; where none is named, all of them and the servers too.

    What they stored stays. Returns what was stopped.
    """
    with record.alone():
        return _down(choose(names) if names else [])


def restart(
    names: Sequence[str] = (),
    *,
    timeout: float = limits.HEALTH,
    progress: Progress = lambda _: nullcontext(),
) -> Up:
    """Stop services and run them again, as they are now; raises what `up` does."""
    services = choose(names)
    with record.alone():
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
    return backend.servers() + backend.statuses(choose())


def logs(names: Sequence[str] = (), *, lines: int) -> dict[str, str]:
    """Return the last lines of what services have put out."""
    _, backend = current()
    return {service.name: backend.output(service, lines) for service in choose(names)}


def follow(names: Sequence[str] = (), *, lines: int) -> NoReturn:
    """Show what services put out as it comes, in the place of this process."""
    current()[1].follow(choose(names), lines)


def clean() -> list[str]:
    """Take the stack down and delete all that it has stored; return what was there."""
    with record.alone():
        done = _down([]) + Containers().clean()
        for source in OURS:
            if record.used(source):
                done += service_env.forget(source)
        record.remove()
        return done


@contextmanager
def dev(services: Sequence[Service], kinds: Sequence[Kind] = servers.KINDS) -> Iterator[Server]:
    """Yield the server that the `dev` databases of services are on; raises what `up` does."""
    with service_env.lease(current()[0], services, kinds) as up:
        yield up["postgres"]


def running(services: Sequence[Service]) -> list[Service]:
    """Return those of the services that the stack of this checkout runs."""
    noted = record.load()
    listening = [service for service in services if service.port is not None]
    if not (noted and listening):
        return []
    statuses = _backend(noted.source).statuses(listening)
    return [each for each, status in zip(listening, statuses, strict=True) if status.up]


@contextmanager
def paused(services: Sequence[Service]) -> Iterator[None]:
    """Stop services for the length of the block, and start them again."""
    if not services:
        yield
        return
    with record.alone():
        source, backend = current()
        backend.stop(services)
        try:
            yield
        finally:
            with service_env.lease(source, services) as taken:
                backend.start(services, taken)


def current() -> tuple[Source, Backend]:
    """Return what runs the services: what they were started by, else what would start them."""
    noted = record.load()
    source = noted.source if noted else service_env.choose()[0]
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


def _up(services: Sequence[Service], timeout: float, progress: Progress) -> Up:
    source, why, backend = _claim()
    before = zip(services, backend.statuses(services), strict=True)
    ports.refuse_taken([service for service, status in before if not status.up])
    with progress(f"{backend.PREPARING} {', '.join(service.name for service in services)}"):
        backend.prepare(services)
    record.Record(source).save()
    migrated = []
    with service_env.lease(source, services) as taken:
        for service in services:
            with progress(f"migrate the database of {service.name}"):
                if service_env.migrate(service, taken):
                    migrated.append(service.name)
        started = backend.start(services, taken)
    with progress("wait until all are healthy"):
        statuses = await_health(backend, services, timeout)
    return Up(source, why, started, migrated, statuses)


def _claim() -> tuple[Source, str, Backend]:
    """Return where the stack runs, why, and what runs it; refuse where another one is up."""
    source, why = service_env.choose()
    noted = record.load()
    if noted and noted.source != source:
        _refuse_other(noted, source)
    return source, why, _backend(source)


def _refuse_other(noted: Record, source: Source) -> None:
    if not any(status.up for status in _backend(noted.source).statuses(choose())):
        return
    raise ConfigurationError(
        f"the stack is up already, on servers that are {noted.source}, not {source}",
        f"uv run invoke stack.down, or STRATA_SERVERS={noted.source}",
    )


def _down(services: Sequence[Service]) -> list[str]:
    noted = record.load()
    stopped = []
    if noted:
        backend = _backend(noted.source)
        stopped = backend.stop(services) if services else backend.close()
    done = [f"{name}: stopped" for name in stopped]
    if services:
        return done
    record.forget()
    return done + servers.release()
