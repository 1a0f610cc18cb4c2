"""How a part of the stack is, the probe that tells, and the wait until services are healthy."""

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
"""Where every service says whether it is ready, and what it offers."""
INTERVAL = 0.1
"""Seconds between two looks at a service that is not healthy yet."""
TAIL = 20
"""Lines of the output of a service that is not healthy, which a message shows."""
MISCONFIGURED = 3
"""What a service exits with where a setting is wrong."""


class State(StrEnum):
    """How a part of the stack is."""

    HEALTHY = "healthy"
    RUNNING = "running"
    """It runs, and is not ready (yet)."""
    DEAD = "dead"
    """It has ended, and nobody told it to."""
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Status:
    """How a service or a server of the stack is.

    `process` is its number, `container` its identifier; `since` says when it started or ended.
    `exit_code` is None where it runs, or where nobody saw it end.
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
    """Why it is not healthy, where that is known."""

    @property
    def up(self) -> bool:
        """Whether it runs, healthy or not."""
        return self.state in (State.HEALTHY, State.RUNNING)

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON takes it."""
        since = self.since.isoformat(timespec="seconds") if self.since else None
        return {**asdict(self), "state": str(self.state), "since": since}

    def cells(self) -> tuple[str, ...]:
        """Return the cells of its row in a table."""
        who = f"pid {self.process}" if self.process else (self.container or "")[:12]
        since = f"since {self.since.astimezone():%Y-%m-%d %H:%M:%S}" if self.since else ""
        return self.name, self.state, who, self.url or "", since, self.reason or ""


def address(port: int) -> str:
    """Return where a service is reached from this machine."""
    return f"http://{HOST}:{port}"


def readiness_error(service: int | str) -> str | None:
    """Return why a service is not ready, from its answer; None if it is ready.

    Args:
        service: its port on this machine, or its address.
    """
    url = urlsplit(address(service) if isinstance(service, int) else service)
    kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
    # Not urllib, which would ask a proxy for what is on this machine.
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
        ConfigurationError: one has ended because a setting is wrong.
        InfrastructureError: one has ended, was not started, or is not healthy in time.
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
    return f"; its last lines:\n{text}" if text else "; it has put nothing out"
