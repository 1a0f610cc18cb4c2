"""What is known of a part of the stack, and the probe that tells whether a service is healthy."""

import http.client
import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from http import HTTPStatus
from typing import Any, Literal

from .. import limits

HOST = "127.0.0.1"
READY, DOCS = "/health/ready", "/docs"
"""Where every service says whether it is ready, and what it offers."""


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
    """Why it is not healthy, where something tells."""

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


def moment(seconds: float) -> datetime:
    """Return a point in time that is given as seconds since 1970."""
    return datetime.fromtimestamp(seconds, UTC)


def complaint(port: int) -> str | None:
    """Ask a service whether it is ready; return None if it is, else what it says instead."""
    # Not urllib, which would ask a proxy for what is on this machine.
    connection = http.client.HTTPConnection(HOST, port, timeout=limits.ANSWER)
    try:
        connection.request("GET", READY)
        answer = connection.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException) as error:
        return f"{READY} does not answer: {error}"
    finally:
        connection.close()
    if answer.status == HTTPStatus.OK:
        return None
    return f"{READY} answers {answer.status}{_detail(body)}"


def _detail(body: bytes) -> str:
    try:
        detail = json.loads(body)["detail"]
    except (KeyError, TypeError, ValueError):
        return ""
    return f": {detail}"
