"""Waiting until services are healthy, and telling why they are not."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

from ..errors import ConfigurationError, InfrastructureError, StrataError
from ..project import Service
from ..servers.waiting import until
from .states import State, Status

if TYPE_CHECKING:
    from .containers import Containers
    from .processes import Processes

Backend: TypeAlias = "Containers | Processes"
INTERVAL = 0.1
"""Seconds between two looks at a service that is not healthy yet."""
TAIL = 20
"""Lines of its output that are shown of a service that is not well."""
MISCONFIGURED = 3
"""What a service exits with where a setting is wrong."""


def await_health(backend: Backend, services: Sequence[Service], timeout: float) -> list[Status]:
    """Wait until services are healthy; return how they are then.

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
        sick = [status for status in statuses if status.state != State.HEALTHY]
        if sick:
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
    if status.state == State.STOPPED:
        return InfrastructureError(
            f"{service.name} is not up", f"uv run invoke stack.up --service {service.name}"
        )
    kind = ConfigurationError if status.exit_code == MISCONFIGURED else InfrastructureError
    return kind(
        f"{service.name} is dead: {status.reason}{_tail(backend, service)}",
        f"fix what it says, then: uv run invoke stack.up --service {service.name}",
    )


def _tail(backend: Backend, service: Service) -> str:
    text = backend.output(service, TAIL)
    return f"; its last lines:\n{text}" if text else "; it has put nothing out"
