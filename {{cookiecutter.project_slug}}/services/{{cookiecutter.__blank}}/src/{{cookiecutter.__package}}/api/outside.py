"""How a route gets at the ports."""

from typing import Annotated

from fastapi import Depends, Request

from ..ports import Ports


def _ports(request: Request) -> Ports:
    ports: Ports = request.app.state.ports
    return ports


Outside = Annotated[Ports, Depends(_ports)]
