"""Routes of the models that a team may use."""

from typing import Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel

from .. import errors
from .credentials import ApiKey
from .error_handlers import documented

PATH = "/v1/models"

router = APIRouter(prefix=PATH, tags=["models"], responses=documented(400, 401, 503))


class Model(BaseModel):
    """A model, by the name that requests use for it."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str
    """Name of the provider."""


class Models(BaseModel):
    """A list of models."""

    object: Literal["list"] = "list"
    data: list[Model]


@router.get("")
async def list_(request: Request, key: ApiKey) -> Models:
    """List the models that the team may use, including its own aliases."""
    state = request.app.state
    # Not cached: without an admission, nothing tells whether the cache is stale.
    grant = await state.completions.policy.fresh_grant(key.hash)
    config = await state.ports.database.config()
    aliases = await state.ports.database.aliases.routes(grant.key.team_id)
    known = {name: (each.model, 0, each.provider) for name, each in config.models.items()} | {
        name: (each.target, int(each.created_at.timestamp()), each.provider)
        for name, each in aliases.items()
    }
    found = [
        Model(id=name, created=created, owned_by=provider)
        for name, (target, created, provider) in sorted(known.items())
        # The provider may have been removed from the settings since.
        if target in config.prices and provider in state.ports.backends
    ]
    return Models(data=found)


@router.get("/{model:path}", responses=documented(404))
async def read(model: str, request: Request, key: ApiKey) -> Model:
    """Return one model by its name."""
    for each in (await list_(request, key)).data:
        if each.id == model:
            return each
    raise errors.UnknownModelError(model)
