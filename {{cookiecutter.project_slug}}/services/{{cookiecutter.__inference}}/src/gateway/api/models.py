"""The models that a team may use."""

from http import HTTPStatus
from typing import Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel

from .. import errors
from .error_handlers import documented
from .keys import KeyHash

PATH = "/v1/models"

router = APIRouter(
    prefix=PATH,
    tags=["models"],
    responses=documented(
        HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED, HTTPStatus.SERVICE_UNAVAILABLE
    ),
)


class Model(BaseModel):
    """A model, by the name that requests have for it."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str
    """The provider."""


class Models(BaseModel):
    """All of them."""

    object: Literal["list"] = "list"
    data: list[Model]


@router.get("")
async def list_(request: Request, key_hash: KeyHash) -> Models:
    """List the models, the team's own names for them among them."""
    found = await _models(request, key_hash)
    return Models(data=[found[name] for name in sorted(found)])


@router.get("/{model:path}", responses=documented(HTTPStatus.NOT_FOUND))
async def read(model: str, request: Request, key_hash: KeyHash) -> Model:
    """Return one."""
    found = await _models(request, key_hash)
    if model not in found:
        raise errors.UnknownModelError(model)
    return found[model]


async def _models(request: Request, key_hash: str) -> dict[str, Model]:
    state = request.app.state
    # From the database: no admission says here whether what is remembered is still true.
    grant = await state.policy.fresh_grant(key_hash)
    config = await state.policy.config()
    aliases = await state.ports.database.aliases.routes(grant.key.team_id)
    found = {name: (each.provider, each.model, 0) for name, each in config.models.items()}
    for name, alias in aliases.items():
        found[name] = (alias.provider, alias.target, int(alias.created_at.timestamp()))
    return {
        name: Model(id=name, created=created, owned_by=provider)
        for name, (provider, model, created) in found.items()
        # A provider may be gone that was there when it was named.
        if model in config.prices and provider in state.ports.backends
    }
