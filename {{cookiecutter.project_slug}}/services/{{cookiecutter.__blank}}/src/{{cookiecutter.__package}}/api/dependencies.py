"""What routes get by FastAPI's dependency injection."""

from typing import Annotated

from fastapi import Depends, Request

from servicebase.health import Ping

from ..ports import Ports

# Coroutines although they wait for nothing: a plain function would be sent to a thread.


async def _ports(request: Request) -> Ports:
    ports: Ports = request.app.state.ports
    return ports


PortsDep = Annotated[Ports, Depends(_ports)]


async def servers(ports: PortsDep) -> dict[str, Ping]:
    """Return what asks each server whether it is up."""
    return {"postgres": ports.repository.ping, "redis": ports.idempotency.ping}
