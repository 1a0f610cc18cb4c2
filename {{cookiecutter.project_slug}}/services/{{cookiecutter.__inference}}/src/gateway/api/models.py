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
    shared = {
        name: Model(id=name, created=0, owned_by=target.provider)
        for name, target in config.models.items()
        if target.model in config.prices
    }
    own = {
        name: Model(id=name, created=int(alias.created_at.timestamp()), owned_by=alias.provider)
        for name, alias in aliases.items()
        if alias.target in config.prices
    }
    return {
        name: model
        for name, model in (shared | own).items()
        # A provider may be gone that was there when it was named.
        if model.owned_by in state.ports.backends
    }
