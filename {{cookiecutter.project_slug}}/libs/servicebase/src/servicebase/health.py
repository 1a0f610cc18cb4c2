"""Health probes: liveness and readiness."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from http import HTTPStatus
from typing import Annotated, Any, Literal

import structlog
from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel

from . import errors, problem

PREFIX = "/health"
TIMEOUT = 2.0
"""Seconds that a probe waits for a server, whatever the timeout of requests is."""

Ping = Callable[[], Awaitable[object]]

_problem = partial(problem.response, HTTPStatus.SERVICE_UNAVAILABLE)
log = structlog.get_logger("health")


class Live(BaseModel):
    """Response of a live process."""

    status: Literal["live"] = "live"


class Ready(BaseModel):
    """Response of a process whose servers all answer."""

    status: Literal["ready"] = "ready"


def router(
    servers: Callable[..., Mapping[str, Ping] | Awaitable[Mapping[str, Ping]]],
    *,
    down: Callable[[str], Response] = _problem,
    documented: Callable[[HTTPStatus], dict[int | str, dict[str, Any]]] = problem.documented,
) -> APIRouter:
    """Return the routes of the probes.

    Args:
        servers: FastAPI dependency that returns a ping for each server, by name.
        down: makes the response that names the servers that are down.
        documented: makes the OpenAPI documentation of that response.
    """
    router = APIRouter(prefix=PREFIX, tags=["health"])

    @router.get("/live")
    async def live() -> Live:
        """Report only that the process answers: a restart would fix nothing else."""
        return Live()

    @router.get(
        "/ready", response_model=Ready, responses=documented(HTTPStatus.SERVICE_UNAVAILABLE)
    )
    async def ready(pings: Annotated[Mapping[str, Ping], Depends(servers)]) -> Ready | Response:
        """Report whether requests can be served, and if not, which servers are down."""
        answers = await asyncio.gather(*(_answers(*each) for each in pings.items()))
        missing = [name for name, answer in zip(pings, answers, strict=True) if not answer]
        return down(f"down: {', '.join(missing)}") if missing else Ready()

    return router


async def _answers(server: str, ping: Ping) -> bool:
    try:
        async with asyncio.timeout(TIMEOUT):
            await ping()
    except (errors.UnavailableError, TimeoutError) as error:
        log.warning("down", server=server, cause=repr(error.__cause__ or error))
        return False
    return True
