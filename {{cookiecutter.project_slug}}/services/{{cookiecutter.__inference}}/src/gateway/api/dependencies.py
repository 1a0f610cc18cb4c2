"""FastAPI dependencies of the routes."""

from collections.abc import AsyncIterator
from contextlib import suppress
from ipaddress import ip_network
from typing import Annotated, Any
from uuid import UUID, uuid4

from fastapi import Depends, Request, Response

from servicebase.health import Ping

from ..accounts import Credentials
from ..ports import Ports
from ..settings import Settings

# Coroutines, although they await nothing: FastAPI would run plain functions in threads.


def _kept(name: str) -> Any:
    """Return a dependency on the attribute of `app.state` that `create_app` sets by this name."""

    async def kept(request: Request) -> Any:
        return getattr(request.app.state, name)

    return Depends(kept)


PortsDep = Annotated[Ports, _kept("ports")]
SettingsDep = Annotated[Settings, _kept("settings")]
CredentialsDep = Annotated[Credentials, _kept("credentials")]


async def _address(request: Request) -> str:
    host = request.client.host if request.client else ""
    with suppress(ValueError):
        return str(ip_network((host, 64 if ":" in host else 32), strict=False))
    return host


Address = Annotated[str, Depends(_address)]
"""Client's IP address; for IPv6 its /64 network, all of which one client may have."""


async def _announced(request: Request, ports: PortsDep) -> AsyncIterator[None]:
    changing = request.method != "GET"
    # Without Redis, fail before anything is stored: other processes would keep using a revoked key.
    if changing:
        await ports.limiter.version()
    yield
    if changing:
        request.app.state.completions.policy.renew(await ports.limiter.announce())


ANNOUNCED = Depends(_announced, scope="function")
"""Dependency of routes that may change the policy: tells every process once it is stored."""


async def _new_id(request: Request, response: Response) -> UUID:
    id_ = uuid4()
    response.headers["Location"] = f"{request.url.path}/{id_}"
    return id_


NewId = Annotated[UUID, Depends(_new_id)]
"""Id of the resource that a route creates; the response has its URL in `Location`."""


async def _no_store(response: Response) -> None:
    response.headers["Cache-Control"] = "no-store"


NO_STORE = Depends(_no_store)
"""Dependency of routes whose response contains a secret: it must not be cached."""


async def servers(ports: PortsDep) -> dict[str, Ping]:
    """Return the ping of each server.

    Backends are left out: an unavailable one only affects its own models.
    """
    return {"postgres": ports.database.teams.ping, "redis": ports.limiter.version}
