"""How a route gets at what the application was made with."""

from typing import Annotated

from fastapi import Depends, Request

from ..options import Options
from ..ports import Ports

# Coroutines although they wait for nothing: a plain function would be sent to a thread.


async def _ports(request: Request) -> Ports:
    ports: Ports = request.app.state.ports
    return ports


async def _options(request: Request) -> Options:
    options: Options = request.app.state.options
    return options


Outside = Annotated[Ports, Depends(_ports)]
Chosen = Annotated[Options, Depends(_options)]
