"""What only one kind has, and the config."""

from http import HTTPStatus

from fastapi import APIRouter

from ... import accounts, domain
from .. import fields, views
from ..failures import documented
from ..outside import Outside
from . import bodies

router = APIRouter()


@router.post(
    "/keys/{key_id}/revoke",
    tags=["keys"],
    response_model=views.Key,
    responses=documented(HTTPStatus.NOT_FOUND),
)
async def revoke_key(outside: Outside, key_id: fields.Id) -> domain.ApiKey:
    """Make a key useless at once; what has been revoked stays so."""
    return await accounts.revoke_key(outside, await outside.database.keys.get(key_id))


@router.get(
    "/aliases/{alias_id}/versions", tags=["aliases"], responses=documented(HTTPStatus.NOT_FOUND)
)
async def list_alias_versions(outside: Outside, alias_id: fields.Id) -> list[domain.ModelAlias]:
    """Return all versions of an alias, the newest first."""
    return list(await outside.database.versions(alias_id))


@router.get("/config", tags=["config"])
async def get_config(outside: Outside) -> domain.Config:
    """Return the config that holds now."""
    return await outside.config.fetch()


@router.put("/config", tags=["config"])
async def put_config(outside: Outside, body: bodies.ConfigBody) -> domain.Config:
    """Replace the config, everywhere within a second; return it with its version."""
    for target in body.models.values():
        fields.check_provider(outside.backends, target.provider)
    return await outside.config.publish(body.config())
