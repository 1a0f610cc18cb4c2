"""Probes: is the process alive, and can it do its work?"""

import asyncio
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Literal

import structlog
from fastapi import APIRouter, Response
from pydantic import BaseModel

from .. import errors
from . import problem
from .outside import Outside

PREFIX = "/health"
PATIENCE = 2.0
"""Seconds that a probe waits for a server, whatever a request would."""

log = structlog.get_logger("health")
router = APIRouter(prefix=PREFIX, tags=["health"])


class Live(BaseModel):
    """The process answers."""

    status: Literal["live"] = "live"


class Ready(BaseModel):
    """Each server answers, too."""

    status: Literal["ready"] = "ready"


@router.get("/live")
async def live() -> Live:
    """Report that the process answers; look at nothing else, since a restart would fix nothing."""
    return Live()


@router.get(
    "/ready",
    response_model=Ready,
    responses=problem.documented(HTTPStatus.SERVICE_UNAVAILABLE),
)
async def ready(outside: Outside) -> Ready | Response:
    """Return whether requests can be served, and if not, which server is down."""
    pings = {"postgres": outside.repository.ping, "redis": outside.idempotency.ping}
    answers = await asyncio.gather(*(_answers(*each) for each in pings.items()))
    down = [name for name, answer in zip(pings, answers, strict=True) if not answer]
    if down:
        return problem.response(HTTPStatus.SERVICE_UNAVAILABLE, f"down: {', '.join(down)}")
    return Ready()


async def _answers(server: str, ping: Callable[[], Awaitable[None]]) -> bool:
    try:
        async with asyncio.timeout(PATIENCE):
            await ping()
    except (errors.UnavailableError, TimeoutError) as error:
        log.warning("down", server=server, cause=repr(error.__cause__ or error))
        return False
    return True
