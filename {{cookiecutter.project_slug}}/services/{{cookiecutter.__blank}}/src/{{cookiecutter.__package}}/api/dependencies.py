"""FastAPI dependencies of the routes."""

from typing import Annotated

from fastapi import Depends, Request

from servicebase.health import Ping

from ..ports import Ports

# Coroutines although they await nothing: a plain function would run in a thread.


async def _ports(request: Request) -> Ports:
    ports: Ports = request.app.state.ports
    return ports


PortsDep = Annotated[Ports, Depends(_ports)]


async def servers(ports: PortsDep) -> dict[str, Ping]:
    """Return the ping of each server."""
    return {"postgres": ports.repository.ping, "redis": ports.idempotency.ping}
