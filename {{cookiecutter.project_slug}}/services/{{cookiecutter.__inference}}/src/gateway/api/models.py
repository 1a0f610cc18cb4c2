"""The models that a team may use."""

from http import HTTPStatus
from typing import Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel

from .. import errors
from .error_handlers import documented
from .keys import DOCUMENTED, hash_of

PATH = "/v1/models"

router = APIRouter(
    prefix=PATH,
    tags=["models"],
    dependencies=[DOCUMENTED],
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
async def list_(request: Request) -> Models:
    """List the models, the team's own names for them among them."""
    found = await _models(request)
    return Models(data=[found[name] for name in sorted(found)])


@router.get("/{model:path}", responses=documented(HTTPStatus.NOT_FOUND))
async def read(model: str, request: Request) -> Model:
    """Return one."""
    found = await _models(request)
    if model not in found:
        raise errors.UnknownModelError(model)
    return found[model]


async def _models(request: Request) -> dict[str, Model]:
    state = request.app.state
    # From the database: no admission says here whether what is remembered is still true.
    grant = await state.policy.fresh_grant(hash_of(request))
    config = await state.policy.config()
    aliases = await state.ports.database.routes(grant.key.team_id)
    shared = {
        name: Model(id=name, created=0, owned_by=target.provider)
        for name, target in config.models.items()
    }
    own = {
        name: Model(id=name, created=int(alias.created_at.timestamp()), owned_by=alias.provider)
        for name, alias in aliases.items()
    }
    return {
        name: model
        for name, model in (shared | own).items()
        # A provider may be gone that was there when it was named.
        if model.owned_by in state.ports.backends
    }
