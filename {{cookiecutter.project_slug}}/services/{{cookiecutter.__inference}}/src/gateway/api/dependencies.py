"""What routes get by FastAPI's dependency injection."""

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

# Coroutines although they wait for nothing: a plain function would be sent to a thread.


def _kept(name: str) -> Any:
    """Return the dependency on what `create_app` keeps by this name."""

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
"""Where a request comes from: of IPv6 the network, all of which one client may have."""


async def _announced(ports: PortsDep) -> AsyncIterator[None]:
    # Nothing is stored that nobody would be told of: elsewhere a revoked key would go on working.
    await ports.announcements.ping()
    yield
    await ports.announcements.announce()


ANNOUNCED = Depends(_announced, scope="function")
"""Of a route that changes what decides on requests: every process is told once it is stored."""


async def _new_id(request: Request, response: Response) -> UUID:
    id_ = uuid4()
    response.headers["Location"] = f"{request.url.path}/{id_}"
    return id_


NewId = Annotated[UUID, Depends(_new_id)]
"""The id of what a route creates, at which place the answer says."""


async def _no_store(response: Response) -> None:
    response.headers["Cache-Control"] = "no-store"


NO_STORE = Depends(_no_store)
"""Of a route whose answer holds a secret: no proxy keeps it."""


async def servers(ports: PortsDep) -> dict[str, Ping]:
    """Return what asks each server whether it is up.

    Backends are not asked: one that is away takes down its own models alone.
    """
    return {"postgres": ports.database.ping, "redis": ports.announcements.ping}
