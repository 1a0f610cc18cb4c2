"""Services as processes of this machine, on embedded servers."""

import importlib.util
import os
import sys
from collections.abc import Mapping, Sequence
from typing import NoReturn

import psycopg

from .. import settings
from ..errors import ConfigurationError
from ..project import Service
from ..servers import KINDS, Kind, Server, Source, embedded, external
from . import ports, process_wrapper, record, service_env
from .process import Process
from .states import HOST, State, Status, moment


class Processes:
    """The stack as processes."""

    PREPARING = "find the code of"

    def __init__(self, source: Source = "embedded") -> None:
        """Run them on the servers of a source."""
        self.source = source

    def prepare(self, services: Sequence[Service]) -> None:
        """Make sure that the services are installed.

        Raises:
            ConfigurationError: one of them is not.
        """
        for service in services:
            if importlib.util.find_spec(service.package) is None:
                raise ConfigurationError(
                    f"{service.name} is not installed in {sys.prefix}", "uv run invoke setup"
                )

    def start(self, services: Sequence[Service], servers: Mapping[Kind, Server]) -> list[str]:
        """Start those of the services that do not run; return their names."""
        idle = [service for service in services if not Process(service.name).alive()]
        for service in idle:
            port = ports.of(service)
            own = service_env.variables(service, servers, host=HOST, port=port)
            Process(service.name).start(service.package, own, port)
        return [service.name for service in idle]

    def stop(self, services: Sequence[Service]) -> list[str]:
        """Stop services; return those that ran."""
        return [service.name for service in services if Process(service.name).stop()]

    def close(self) -> list[str]:
        """Stop every service, those that are in the project no more as well; return which ran."""
        known = sorted(
            note.parent.name for note in record.folder().glob(f"*/{process_wrapper.LOCK}")
        )
        return [name for name in known if Process(name).stop()]

    def statuses(self, services: Sequence[Service]) -> list[Status]:
        """Return how services are."""
        return [Process(service.name).status() for service in services]

    def servers(self) -> list[Status]:
        """Return how the servers are."""
        ours = [kind for kind in KINDS if (self.source, kind) != ("url", "postgres")]
        found = [_server(kind, embedded.standing(kind, kept=kind == "postgres")) for kind in ours]
        return found if len(found) == len(KINDS) else [_given(), *found]

    def output(self, service: Service, lines: int) -> str:
        """Return the last lines of a service's output."""
        try:
            text = Process(service.name).log.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return ""
        return "\n".join(text.splitlines()[-lines:])

    def follow(self, services: Sequence[Service], lines: int) -> NoReturn:
        """Show the services' output as it grows, in the place of this process."""
        logs = [str(Process(service.name).log) for service in services]
        os.execvp("tail", ["tail", "-n", str(lines), "-F", *logs])  # noqa: S606


def _given() -> Status:
    """Return how the PostgreSQL is that somebody else runs."""
    address = external.given(settings.load(), "postgres")
    try:
        external.ping("postgres", address)
    except psycopg.Error as error:
        reason = str(error).strip()
        return Status("postgres", State.DEAD, "server", settings.masked(address), reason=reason)
    return Status("postgres", State.HEALTHY, "server", settings.masked(address))


def _server(kind: str, up: embedded.RunningServer | None) -> Status:
    if not up:
        return Status(kind, State.STOPPED, "server")
    return Status(
        *(kind, State.RUNNING if up.complaint else State.HEALTHY, "server"),
        url=up.url,
        process=up.process,
        since=moment(up.started),
        reason=up.complaint,
    )
