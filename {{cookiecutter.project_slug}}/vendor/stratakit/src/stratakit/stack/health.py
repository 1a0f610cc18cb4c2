"""Status of the stack's services and servers, the readiness probe, and the wait for health."""

import http.client
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Literal, TypeAlias
from urllib.parse import urlsplit

from .. import limits
from ..errors import ConfigurationError, InfrastructureError, StrataError
from ..project import Service
from ..servers.waiting import until

if TYPE_CHECKING:
    from .containers import Containers
    from .processes import Processes

Backend: TypeAlias = "Containers | Processes"
HOST = "127.0.0.1"
READY, DOCS = "/health/ready", "/docs"
"""Paths of every service's readiness probe and API documentation."""
INTERVAL = 0.1
"""Seconds between two probes of a service that is not healthy yet."""
TAIL = 20
"""Number of lines of an unhealthy service's output that a message shows."""
MISCONFIGURED = 3
"""Exit code of a service with an invalid setting."""


class State(StrEnum):
    """State of a service or server of the stack."""

    HEALTHY = "healthy"
    RUNNING = "running"
    """Running, but not ready (yet)."""
    DEAD = "dead"
    """Exited without being told to."""
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Status:
    """Status of a service or a server of the stack.

    `process` is its pid, `container` its id; `since` is the time when it started or exited.
    `exit_code` is None while it runs, or if its exit was not observed.
    """

    name: str
    state: State
    kind: Literal["service", "server"] = "service"
    url: str | None = None
    process: int | None = None
    container: str | None = None
    since: datetime | None = None
    exit_code: int | None = None
    reason: str | None = None
    """Reason why it is not healthy, if known."""

    @property
    def up(self) -> bool:
        """Whether it runs, healthy or not."""
        return self.state in (State.HEALTHY, State.RUNNING)

    def as_dict(self) -> dict[str, Any]:
        """Return it as a dictionary for JSON."""
        since = self.since.isoformat(timespec="seconds") if self.since else None
        return {**asdict(self), "state": str(self.state), "since": since}

    def cells(self) -> tuple[str, ...]:
        """Return the cells of its row in a table."""
        who = f"pid {self.process}" if self.process else (self.container or "")[:12]
        since = f"{self.since.astimezone():%Y-%m-%d %H:%M:%S}" if self.since else ""
        return self.name, self.state, who, self.url or "", since, self.reason or ""


def address(port: int) -> str:
    """Return the URL of a service on this machine."""
    return f"http://{HOST}:{port}"


def readiness_error(service: int | str) -> str | None:
    """Return why a service is not ready, from its response; None if it is ready.

    Args:
        service: its port on this machine, or its URL.
    """
    url = urlsplit(address(service) if isinstance(service, int) else service)
    kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
    # Not urllib, which would send local requests through a configured proxy.
    connection = kind(url.hostname or HOST, url.port, timeout=limits.ANSWER)
    try:
        connection.request("GET", url.path.rstrip("/") + READY)
        answer = connection.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException) as error:
        return f"{READY} does not answer: {error}"
    finally:
        connection.close()
    if answer.status == HTTPStatus.OK:
        return None
    try:
        detail = f": {json.loads(body)['detail']}"
    except (KeyError, TypeError, ValueError):
        detail = ""
    return f"{READY} answers {answer.status}{detail}"


def await_health(backend: Backend, services: Sequence[Service], timeout: float) -> list[Status]:
    """Wait until services are healthy; return their statuses.

    Raises:
        ConfigurationError: a service exited because a setting is wrong.
        InfrastructureError: a service exited, was not started, or is not healthy in time.
    """
    statuses: list[Status] = []

    def look() -> None:
        statuses[:] = backend.statuses(services)
        for service, status in zip(services, statuses, strict=True):
            if not status.up:
                raise _ended(backend, service, status)
        if any(status.state != State.HEALTHY for status in statuses):
            raise TimeoutError

    try:
        until(look, timeout, unless=StrataError, interval=INTERVAL)
    except TimeoutError as error:
        raise InfrastructureError(
            "\n".join(
                f"{service.name} is not healthy after {timeout:g} s: {status.reason}"
                f"{_tail(backend, service)}"
                for service, status in zip(services, statuses, strict=True)
                if status.state != State.HEALTHY
            ),
            "see `uv run invoke stack.logs`; give it more time: uv run invoke stack.wait",
        ) from error
    return statuses


def _ended(backend: Backend, service: Service, status: Status) -> StrataError:
    start = f"uv run invoke stack.up --service {service.name}"
    if status.state == State.STOPPED:
        return InfrastructureError(f"{service.name} is not up", start)
    kind = ConfigurationError if status.exit_code == MISCONFIGURED else InfrastructureError
    message = f"{service.name} is dead: {status.reason}{_tail(backend, service)}"
    return kind(message, f"fix what it says, then: {start}")


def _tail(backend: Backend, service: Service) -> str:
    text = backend.output(service, TAIL)
    return f"; its last lines:\n{text}" if text else "; it has printed nothing"
