"""What routes get by FastAPI's dependency injection."""

from typing import Annotated

from fastapi import Depends, Request

from servicebase.health import Ping

from ..options import Options
from ..ports import Ports

# Coroutines although they wait for nothing: a plain function would be sent to a thread.


async def _ports(request: Request) -> Ports:
    ports: Ports = request.app.state.ports
    return ports


async def _options(request: Request) -> Options:
    options: Options = request.app.state.options
    return options


PortsDep = Annotated[Ports, Depends(_ports)]
OptionsDep = Annotated[Options, Depends(_options)]


async def servers(ports: PortsDep) -> dict[str, Ping]:
    """Return what asks each server whether it is up.

    Backends are not asked: one that is away takes down its own models alone.
    """
    return {"postgres": ports.database.ping, "redis": ports.limiter.ping}
